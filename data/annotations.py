"""Masks that are drawn as outlines: LabelMe's JSON, one file an image, and COCO's, one for many.

What an outline is called does not matter: all of them mark defects.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from textwrap import shorten
from typing import Any
from unicodedata import normalize

import numpy as np
from pycocotools import mask as coco

from data.files import once_a_version
from data.outlines import coco_regions, labelme_region
from dtsnet_jax.errors import UserError, first_line

MOST_PIXELS = 2**30  # of an image with outlines
_DAMAGES = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)


class UnreadableError(UserError):
    """A file that cannot be read, or is no JSON."""


@dataclass(frozen=True)
class Marks:
    """What is marked in one image.

    Attributes:
      file: the file with the annotations.
      name: the image's file name or path as the annotations have it.
      size: its width and height in pixels as the annotations have them.
      regions: run-length codes of pycocotools.
      without_area: how many lines and points are marked, which cover nothing.
    """

    file: Path
    name: str
    size: tuple[int, int]
    regions: tuple[dict, ...]
    without_area: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is marked."""
        return not self.regions and not self.without_area

    def draw(self) -> np.ndarray:
        """The union of all regions, (height, width) bool."""
        width, height = self.size
        if not self.regions:
            return np.zeros((height, width), bool)
        return coco.decode(coco.merge(list(self.regions))).astype(bool)


@dataclass(frozen=True, eq=False)
class Annotations:
    """The content of an annotation file.

    Attributes:
      path: the file.
      marks: of each image.
      names_images: whether images are found by name, as in COCO; else the file is of one image.
    """

    path: Path
    marks: tuple[Marks, ...]
    names_images: bool

    def find(self, image: Path) -> Marks | None:
        """What is marked in an image; None where the file does not name it.

        Raises:
          UserError: two names fit equally well.
        """
        fitting, _ = best_fits(self._index, image) if self.names_images else (self.marks, 0)
        if len(fitting) > 1:
            raise UserError(
                f"'{self.path}' names the image '{image}' twice, as '{fitting[0].name}' and "
                f"'{fitting[1].name}'; give each image one entry, its file_name with the folder."
            )
        return fitting[0] if fitting else None

    @cached_property
    def _index(self) -> dict[str, list[Marks]]:
        return index_marks([self])


def index_marks(files: Iterable[Annotations]) -> dict[str, list[Marks]]:
    """The entries of files by the file names of their images."""
    result: dict[str, list[Marks]] = {}
    for marks in (marks for file in files for marks in file.marks):
        result.setdefault(path_parts(marks.name)[-1], []).append(marks)
    return result


def best_fits(index: dict[str, list[Marks]], image: Path) -> tuple[list[Marks], int]:
    """Finds the entries whose names have most in common with an image's path.

    Names are compared from their ends on, folder by folder, and have at least the file name in
    common. They are thought to start in the folder of their file.

    Args:
      index: from ``index_marks``.
      image: the image's path.

    Returns:
      The entries, none where the image is not named, and how many parts of the paths are equal.
    """
    found = [
        (common_parts(marks, image), marks) for marks in index.get(path_parts(image.name)[-1], ())
    ]
    best = max((length for length, _ in found), default=0)
    return [marks for length, marks in found if length == best], best


def read_annotations(path: Path) -> Annotations | None:
    """Reads a JSON file once a process as long as it is unchanged.

    Args:
      path: the file.

    Returns:
      Its content; None if it is neither LabelMe's nor COCO's.

    Raises:
      UnreadableError: it cannot be read, or is no JSON.
      UserError: it is damaged.
    """
    try:
        return _read(path)
    except OSError as error:
        raise UnreadableError(
            f"'{path}' cannot be read ({error.strerror}); replace or remove it."
        ) from error


@once_a_version
def _read(path: Path) -> Annotations | None:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnreadableError(
            f"'{path}' is no JSON ({first_line(error)}); export it again or remove it."
        ) from error
    if not isinstance(content, dict):
        return None
    try:
        if isinstance(content.get("shapes"), list):
            return Annotations(path, (_labelme(path, content),), names_images=False)
        if isinstance(content.get("images"), list) and "annotations" in content:
            return Annotations(path, _coco(path, content), names_images=True)
    except UserError as error:
        found = shorten(str(error), 500, placeholder=" …")  # a name may be of any length
        raise UserError(f"'{path}': {found}") from error
    except _DAMAGES as error:
        found = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(
            f"'{path}' is damaged or of an unknown version ({found}); export it again."
        ) from error
    return None


def path_parts(name: str) -> tuple[str, ...]:
    """The parts of a path of any system; how its accents are encoded makes no difference."""
    return PurePosixPath(normalize("NFC", name).replace("\\", "/")).parts or ("",)


def common_parts(marks: Marks, image: Path) -> int:
    """How many parts of an entry's path and an image's are equal, from the end on."""
    name = (*path_parts(str(marks.file.parent)), *path_parts(marks.name))
    parts = list(zip(reversed(name), reversed(path_parts(str(image))), strict=False))
    return next((i for i, (ours, theirs) in enumerate(parts) if ours != theirs), len(parts))


def _labelme(path: Path, content: dict[str, Any]) -> Marks:
    name = str(content.get("imagePath"))
    size = _size(content.get("imageWidth"), content.get("imageHeight"), name)
    return _marks(path, name, size, [labelme_region(s, size) for s in content["shapes"]])


def _coco(path: Path, content: dict[str, Any]) -> tuple[Marks, ...]:
    names: dict[Any, str] = {}
    for entry in content["images"]:
        name = entry["file_name"]
        if not isinstance(name, str):
            raise UserError(f"the file_name of an image is {name!r}, expected a text; correct it.")
        if entry["id"] in names:
            raise UserError(
                f"the images '{names[entry['id']]}' and '{name}' have the same id, {entry['id']}; "
                "export it again."
            )
        names[entry["id"]] = name
    annotations: dict[Any, list[dict]] = {key: [] for key in names}
    for annotation in content["annotations"]:
        if annotation["image_id"] not in names:
            raise UserError(
                f"an annotation is of the image_id {annotation['image_id']}, which no image has; "
                "export it again."
            )
        annotations[annotation["image_id"]].append(annotation)
    result = []
    for entry in content["images"]:
        name = entry["file_name"]
        size = _size(entry.get("width"), entry.get("height"), name)
        regions = [r for a in annotations[entry["id"]] for r in coco_regions(a, size)]
        result.append(_marks(path, name, size, regions))
    return tuple(result)


def _marks(path: Path, name: str, size: tuple[int, int], regions: list[dict | None]) -> Marks:
    areas = tuple(region for region in regions if region is not None)
    return Marks(path, name, size, areas, len(regions) - len(areas))


def _size(width: object, height: object, name: str) -> tuple[int, int]:
    whole = all(isinstance(length, int) and length > 0 for length in (width, height))
    if not whole or width * height > MOST_PIXELS:
        raise UserError(
            f"the size of the image '{name}' is stated as {width}×{height}, expected whole numbers "
            f"of pixels, at most {MOST_PIXELS:,}; export it again with the sizes of the images."
        )
    return width, height
