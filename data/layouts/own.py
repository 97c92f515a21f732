"""Two folders of photographs: ``normal/`` and, optionally, ``defective/`` and ``masks/``.

ROOT/normal/*.png            good parts; subfolders, if any, are groups
ROOT/defective/*.png         bad parts; subfolders, if any, name the kinds of defect
ROOT/masks/*.png             where the defects are, as ``data.layouts.mask_files`` finds them
"""

from pathlib import Path

from data.catalog import DEFECTIVE, GOOD, Catalog, Sample, is_folder, list_images
from data.holdback import hold_back
from data.layouts.mask_files import Listing, find_masks


def is_category(directory: Path) -> bool:
    """Whether this is such a directory."""
    return is_folder(directory / "normal")


def read(directory: Path, category: str, *, held_back: float, held_back_by: str) -> Catalog:
    """Lists a user's own images.

    If there are defective images, some of the normal ones are held back as the good half of the
    test set.

    Args:
      directory: with 'normal/'.
      category: the name to report.
      held_back: share of the normal images, from 0 to below 1, that is held back.
      held_back_by: how these are chosen, see ``data.holdback``.

    Raises:
      UserError: 'normal' has too few images, or it is unclear which mask belongs to which image.
    """
    paths, ignored = list_images(directory / "normal")
    good = [Sample(path, group=_folder(path, directory / "normal")) for path in paths]
    if not (directory / "defective").is_dir():
        return Catalog(category, tuple(good), (), tuple(ignored))
    images = directory / "defective"
    paths, others = list_images(images)
    defective = [Sample(path, _kind(path, images), group=_folder(path, images)) for path in paths]
    listing = Listing(directory, images, directory / "masks", good, defective, [*ignored, *others])
    defective, ignored, notes = find_masks(listing)
    train, test = hold_back(good, held_back if defective else 0.0, held_back_by)
    return Catalog(category, tuple(train), (*test, *defective), tuple(ignored), tuple(notes))


def _folder(path: Path, directory: Path) -> str:
    folder = path.parent.relative_to(directory)
    return "" if folder == Path() else folder.as_posix()


def _kind(path: Path, directory: Path) -> str:
    kind = _folder(path, directory).split("/")[0]
    # A kind called 'good' would be read as not defective.
    return DEFECTIVE if kind in ("", GOOD) else kind
