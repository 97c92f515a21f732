"""Which images COCO's files name."""

import os
from collections.abc import Sequence
from pathlib import Path

from data.annotations import Annotations, Marks, best_fits, index_marks, path_parts
from dtsnet_jax.errors import UserError


def find_named(
    files: Sequence[Annotations], images: Sequence[Path], rivals: Sequence[Path]
) -> dict[Path, Marks]:
    """Finds which images COCO's files name.

    An entry belongs to the image whose path has most in common with its name, so that images of the
    same name in several folders are told apart. It does not belong to an image in another of the
    folders than the one it names.

    Args:
      files: contents of files that name their images.
      images: the images to find.
      rivals: other images, which an entry may fit better.

    Returns:
      The entry of each image that is named.

    Raises:
      UserError: several entries fit an image equally well, or an entry several images.
    """
    owners = _owners(fits := _fits(files, [*images, *rivals]))
    result: dict[Path, Marks] = {}
    for image in images:
        found = fits[image][0]
        if not any(image in owners[id(marks)] for marks in found):
            continue
        marks, *more = found
        if more:
            raise UserError(
                f"the image '{image}' is named twice, as '{marks.name}' in '{marks.file}' and as "
                f"'{more[0].name}' in '{more[0].file}'; keep one of them, its file_name with "
                "the image's folder."
            )
        first, *others = owners[id(marks)]
        if others:
            raise UserError(
                f"'{marks.name}' in '{marks.file}' may be '{first}' or '{others[0]}'; write "
                "the folder into its file_name."
            )
        result[image] = marks
    return result


def _fits(
    files: Sequence[Annotations], images: Sequence[Path]
) -> dict[Path, tuple[list[Marks], int]]:
    """The entries that fit each image best, unless they name another folder, and how well."""
    index, around = index_marks(files), {image.parent.absolute() for image in images}
    try:
        shared = len(Path(os.path.commonpath(around)).parts)
    except ValueError:  # there are none, or they lie on several disks
        shared = 0
    folders = {folder: set(path_parts(str(folder))[shared:]) for folder in around}
    known = set().union(*folders.values())
    result = {}
    for image in images:
        found, length = best_fits(index, image)
        foreign = {other_folder(marks, length) for marks in found} & known
        foreign -= folders[image.parent.absolute()]
        result[image] = [m for m in found if other_folder(m, length) not in foreign], length
    return result


def _owners(fits: dict[Path, tuple[list[Marks], int]]) -> dict[int, list[Path]]:
    """The images that each entry fits best, by the entry's id."""
    best: dict[int, int] = {}
    owners: dict[int, list[Path]] = {}
    for image, (found, length) in fits.items():
        for key in (id(marks) for marks in found):
            if length > best.get(key, 0):
                best[key], owners[key] = length, []
            if length == best[key]:
                owners[key].append(image)
    return owners


def other_folder(marks: Marks, length: int) -> str:
    """The folder in an entry's name before the parts that fit; '' if there is none."""
    return ("", *path_parts(marks.name)[:-length])[-1]
