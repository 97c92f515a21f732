"""Two folders of photographs: ``normal/`` and, optionally, ``defective/`` and ``masks/``.

ROOT/normal/*.png            good parts; subfolders, if any, are groups
ROOT/defective/*.png         bad parts; subfolders, if any, name the kinds of defect
ROOT/masks/*.png             where the defects are, as ``data.layouts.mask_files`` finds them
"""

from pathlib import Path

from data.catalog import DEFECTIVE, GOOD, Catalog, Sample, find_folder, list_images, name_unused
from data.holdback import hold_back
from data.layouts.mask_files import Listing, annotation_folders, find_masks

_FOLDERS = ("normal", "defective", "masks")


def is_category(directory: Path) -> bool:
    """Whether this is such a directory."""
    return find_folder(directory, "normal") is not None


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
    normal, images, masks = (find_folder(directory, name) for name in _FOLDERS)
    notes = name_unused(directory, [normal, images, masks, *annotation_folders(directory)])
    paths, ignored = list_images(normal)
    good = [Sample(path, group=_folder(path, normal)) for path in paths]
    if images is None:
        return Catalog(category, tuple(good), (), tuple(ignored), tuple(notes))
    paths, others = list_images(images)
    defective = [Sample(path, _kind(path, images), group=_folder(path, images)) for path in paths]
    listing = Listing(directory, images, masks, good, defective, [*ignored, *others])
    defective, ignored, more = find_masks(listing)
    train, test = hold_back(good, held_back if defective else 0.0, held_back_by)
    return Catalog(category, tuple(train), (*test, *defective), tuple(ignored), (*notes, *more))


def _folder(path: Path, directory: Path) -> str:
    folder = path.parent.relative_to(directory)
    return "" if folder == Path() else folder.as_posix()


def _kind(path: Path, directory: Path) -> str:
    kind = _folder(path, directory).split("/")[0]
    # A kind called 'good' would be read as not defective.
    return DEFECTIVE if kind in ("", GOOD) else kind
