"""Any user's own images: ``normal/`` and, optionally, ``defective/`` and ``masks/``.

ROOT/normal/*.png            good parts
ROOT/defective/*.png         bad parts; subfolders, if any, name the kinds of defect
ROOT/masks/*.png             where the defects are: same path as the image, any image suffix,
                             with or without '_mask' before it
"""

from pathlib import Path

from data.catalog import Catalog, Sample, list_images
from dtsnet_jax.errors import UserError


def categories(root: Path) -> list[str]:
    """The single category, named after the directory."""
    return [root.resolve().name]


def read(root: Path, category: str, *, held_back: float) -> Catalog:
    """Lists a user's own images.

    If there are defective images, the last normal images by file name are held back as the good
    half of the test set. They are taken from the end rather than at random because neighbours in
    a series of photographs resemble each other.

    Args:
      root: the directory with 'normal/'.
      category: the name to report.
      held_back: share of the normal images, between 0 and 1, that is held back.

    Raises:
      UserError: 'normal' is missing, has too few images, or a defective image lacks its mask while
        others have one.
    """
    if not (root / "normal").is_dir():
        raise UserError(_explain_missing_normal(root))
    normal, ignored = list_images(root / "normal")
    defective: list[Sample] = []
    if (root / "defective").is_dir():
        paths, others = list_images(root / "defective")
        ignored += others
        masks = _list_masks(root / "masks") if (root / "masks").is_dir() else None
        defective = [_defective_sample(path, root, masks) for path in paths]
    good = [Sample(path) for path in normal]
    count = max(1, round(held_back * len(good))) if defective and held_back > 0 else 0
    train, test_good = good[: len(good) - count], good[len(good) - count :]
    return Catalog(category, tuple(train), (*test_good, *defective), tuple(ignored))


def _defective_sample(path: Path, root: Path, masks: dict[Path, Path] | None) -> Sample:
    relative = path.relative_to(root / "defective")
    kind = relative.parts[0] if len(relative.parts) > 1 else "defective"
    mask = None
    if masks is not None:
        mask = masks.get(relative.with_suffix(""))
        if mask is None:
            raise UserError(
                f"defective image '{path}' has no mask in '{root / 'masks'}'; add "
                f"'{Path('masks') / relative.with_suffix('.png')}', or remove the folder 'masks' "
                "to measure whole images only."
            )
    # A kind called 'good' would be read as not defective.
    return Sample(path, "defective" if kind == "good" else kind, mask)


def _list_masks(directory: Path) -> dict[Path, Path]:
    """Masks by their image's path relative to 'defective', without suffix and '_mask'."""
    result: dict[Path, Path] = {}
    for path in list_images(directory)[0]:
        key = path.relative_to(directory).with_suffix("")
        key = key.with_name(key.name.removesuffix("_mask"))
        if key in result:
            raise UserError(
                f"masks '{result[key]}' and '{path}' belong to the same image; remove one of them."
            )
        result[key] = path
    return result


def _explain_missing_normal(root: Path) -> str:
    if not root.is_dir():
        return f"data.root is '{root}', which is no directory; give the directory with 'normal/'."
    if root.name == "normal":
        return f"data.root is '{root}'; give its parent '{root.resolve().parent}' instead."
    inside = sorted(path.parent for path in root.glob("*/normal") if path.is_dir())
    if inside:
        return f"data.root is '{root}', which has no folder 'normal'; did you mean '{inside[0]}'?"
    return (
        f"data.root is '{root}', which has no folder 'normal'; put photographs of good parts into "
        f"'{root / 'normal'}'."
    )
