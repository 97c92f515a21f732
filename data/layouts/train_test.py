"""The tree of MVTec AD, LOCO and AD 2 with a user's own names and any masks.

ROOT/train/good/*.png            good parts to learn from; 'normal' and 'ok' mean the same
ROOT/test/good/*.png             good parts to test on
ROOT/test/KIND/*.png             bad parts
ROOT/ground_truth/KIND/*.png     where the defects are, as ``data.layouts.mask_files`` finds them

As in AD 2, 'test_public' may stand for 'test' and hold 'ground_truth'.
"""

from collections.abc import Iterable
from pathlib import Path

from data.catalog import GOOD, GOOD_NAMES, Catalog, Sample, is_folder, list_images, subfolders
from data.layouts.mask_files import Listing, find_masks

_TESTS = ("test", "test_public")
_TRUTH = "ground_truth"
_WITHOUT_USE = ("validation", "test_private", "test_private_mixed")  # LOCO's and AD 2's


def is_category(directory: Path) -> bool:
    """Whether this is such a directory."""
    return any(is_folder(directory / "train" / name) for name in GOOD_NAMES)


def read(directory: Path, category: str) -> Catalog:
    """Lists a user's own images; nothing is held back, for the folders say what is for testing.

    Args:
      directory: with 'train/'.
      category: the name to report.

    Raises:
      UserError: there are too few images, or it is unclear which mask belongs to which image.
    """
    train, ignored = _list_kinds(directory / "train", GOOD_NAMES)
    notes = _unused_folders(directory)
    images = next((d for name in _TESTS if (d := directory / name).is_dir()), None)
    if images is None:
        return Catalog(category, tuple(train), (), tuple(ignored), tuple(notes))
    kinds = [folder.name for folder in subfolders(images) if folder.name != _TRUTH]
    samples, others = _list_kinds(images, kinds)
    good = [sample for sample in samples if not sample.label]
    listing = Listing(
        root=directory,
        images=images,
        masks=images / _TRUTH if (images / _TRUTH).is_dir() else directory / _TRUTH,
        good=[*train, *good],
        defective=[sample for sample in samples if sample.label],
        others=[*ignored, *others],
    )
    defective, ignored, more = find_masks(listing)
    notes += more
    return Catalog(category, tuple(train), (*good, *defective), tuple(ignored), tuple(notes))


def _list_kinds(directory: Path, kinds: Iterable[str]) -> tuple[list[Sample], list[Path]]:
    """The images in folders that name their kind, and the other files in these."""
    samples: list[Sample] = []
    ignored: list[Path] = []
    for kind in kinds:
        if (directory / kind).is_dir():
            paths, others = list_images(directory / kind)
            samples += [Sample(path, GOOD if kind in GOOD_NAMES else kind) for path in paths]
            ignored += others
    return samples, ignored


def _unused_folders(directory: Path) -> list[str]:
    """Names what lies in a category's directory and is neither learned nor measured."""
    folders = [directory / name for name in _WITHOUT_USE if (directory / name).is_dir()]
    folders += [
        folder for folder in subfolders(directory / "train") if folder.name not in GOOD_NAMES
    ]
    notes = [f"not used: {len(list_images(f)[0])} images in '{f}'" for f in folders]
    for tests in (directory / name for name in _TESTS if (directory / name).is_dir()):
        loose = [path for path in list_images(tests)[0] if path.parent == tests]
        if loose:
            notes.append(
                f"not used: {len(loose)} images in '{tests}' (first: {loose[0].name}), because no "
                f"folder such as '{tests / 'good'}' names their kind"
            )
    return notes
