"""Finds the masks that belong to images by name."""

from collections.abc import Sequence
from pathlib import Path

from data.catalog import comparable, list_images
from dtsnet_jax.errors import UserError


def match_by_name(images: Sequence[Path], directory: Path, *, what: str) -> list[Path]:
    """Finds the mask of each image in a directory.

    A mask has the stem of its image, with or without '_mask'. Where several have it, their folders
    decide: these have to be among the image's folders, in the same order, and the more the better.

    Args:
      images: the files.
      directory: searched with its subdirectories.
      what: what a mask is called in messages.

    Raises:
      UserError: an image has no mask or several, or two images have the same.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in list_images(directory)[0]:
        by_stem.setdefault(comparable(path).name, []).append(path)
    stems = [comparable(image).name for image in images]
    names = set(stems)
    result = []
    for image, stem in zip(images, stems, strict=True):
        masks = list(by_stem.get(stem, ()))
        if f"{stem}_mask" not in names:  # an image of its own
            masks += by_stem.get(f"{stem}_mask", ())
        result.append(_best(image, masks, directory, what))
    owner: dict[Path, Path] = {}
    for image, mask in zip(images, result, strict=True):
        if owner.setdefault(mask, image) != image:
            raise UserError(
                f"{what} '{mask}' could belong to '{owner[mask]}' and to '{image}'; put it into a "
                "folder with the name of its image's folder."
            )
    return result


def _best(image: Path, masks: list[Path], directory: Path, what: str) -> Path:
    folders = {mask: mask.relative_to(directory).parts[:-1] for mask in masks}
    fitting = [mask for mask in masks if _occur(folders[mask], image.parts[:-1])]
    if not fitting:
        raise UserError(
            f"image '{image}' has no {what} '{directory / image.stem}.png'; add it, or leave the "
            "directory out."
        )
    most = max(len(folders[mask]) for mask in fitting)
    best = [mask for mask in fitting if len(folders[mask]) == most]
    if len(best) > 1:
        raise UserError(
            f"image '{image}' has several masks as {what}, '{best[0]}' and '{best[1]}'; remove one."
        )
    return best[0]


def _occur(names: Sequence[str], among: Sequence[str]) -> bool:
    """Whether names stand among others in the same order."""
    rest = iter(among)
    return all(name in rest for name in names)
