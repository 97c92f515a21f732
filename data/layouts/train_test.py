"""The tree of MVTec AD, LOCO and AD 2 with a user's own names and any masks.

ROOT/train/good/*.png            good parts to learn from; 'normal' and 'ok' mean the same
ROOT/test/good/*.png             good parts to test on
ROOT/test/KIND/*.png             bad parts
ROOT/ground_truth/KIND/*.png     where the defects are, as ``data.layouts.mask_files`` finds them

As in AD 2, 'test_public' may stand for 'test' and hold 'ground_truth'.
"""

from collections.abc import Iterable
from pathlib import Path

from data.catalog import (
    GOOD,
    GOOD_NAMES,
    Catalog,
    Sample,
    find_folder,
    list_images,
    name_unused,
    subfolders,
)
from data.layouts.mask_files import Listing, annotation_folders, find_masks

_TRUTH = "ground_truth"


def is_category(directory: Path) -> bool:
    """Whether this is such a directory."""
    train = find_folder(directory, "train")
    return train is not None and find_folder(train, *GOOD_NAMES) is not None


def read(directory: Path, category: str) -> Catalog:
    """Lists a user's own images; nothing is held back, for the folders say what is for testing.

    Args:
      directory: with 'train/'.
      category: the name to report.

    Raises:
      UserError: there are too few images, or it is unclear which mask belongs to which image.
    """
    learned = find_folder(directory, "train")
    images = find_folder(directory, "test", "test_public")
    truth = (images and find_folder(images, _TRUTH)) or find_folder(directory, _TRUTH)
    notes = name_unused(directory, [learned, images, truth, *annotation_folders(directory)])
    good_folders = [folder for folder in subfolders(learned) if _is_good(folder)]
    notes += name_unused(learned, good_folders)
    train, ignored = _list_kinds(good_folders)
    if images is None:
        return Catalog(category, tuple(train), (), tuple(ignored), tuple(notes))
    kinds = [folder for folder in subfolders(images) if folder != truth]
    notes += name_unused(images, [*kinds, truth])
    samples, others = _list_kinds(kinds)
    good = [sample for sample in samples if not sample.label]
    listing = Listing(
        root=directory,
        images=images,
        masks=truth,
        good=[*train, *good],
        defective=[sample for sample in samples if sample.label],
        others=[*ignored, *others],
    )
    defective, ignored, more = find_masks(listing)
    return Catalog(category, tuple(train), (*good, *defective), tuple(ignored), (*notes, *more))


def _is_good(folder: Path) -> bool:
    return folder.name.casefold() in GOOD_NAMES


def _list_kinds(folders: Iterable[Path]) -> tuple[list[Sample], list[Path]]:
    """The images in folders that name their kind, and the other files in these."""
    samples: list[Sample] = []
    ignored: list[Path] = []
    for folder in folders:
        paths, others = list_images(folder)
        samples += [Sample(path, GOOD if _is_good(folder) else folder.name) for path in paths]
        ignored += others
    return samples, ignored
