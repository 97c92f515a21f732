"""Outlines as LabelMe and COCO have them, as run-length codes of pycocotools.

An outline goes through the corners of pixels as COCO has it: the polygon (0, 0), (2, 0), (2, 2),
(0, 2) covers four pixels.
"""

import base64
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from dtsnet_jax.errors import UserError

_AREAS = ("polygon", "rectangle", "circle", "mask")
_NO_AREAS = ("line", "linestrip", "point", "points")
_LONGEST = 4_000_000  # pixels, an outline
_MOST_BITS = 65  # of the length of a run


def labelme_region(shape: dict[str, Any], size: tuple[int, int]) -> dict | None:
    """The region of a shape of LabelMe's, None for one without area.

    Args:
      shape: from its JSON.
      size: the image's width and height in pixels.

    Raises:
      UserError: the shape is of an unknown kind, or lies far outside.
    """
    kind = shape.get("shape_type") or "polygon"
    if kind in _NO_AREAS:
        return None
    if kind not in _AREAS:
        raise UserError(
            f"a shape is a '{kind}', expected one of: {', '.join(_AREAS + _NO_AREAS)}; draw "
            "it as a polygon."
        )
    points = np.array(shape["points"], float)
    if kind == "mask":
        return _patch(_checked(points, size), shape.get("mask"), size)
    if kind == "rectangle":
        points = _corners(*points.min(0), *points.max(0))
    elif kind == "circle":  # its centre and a point on it
        angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
        radius = np.hypot(*(points[1] - points[0]))
        points = points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return _polygon(points, size)


def _patch(points: np.ndarray, picture: str | None, size: tuple[int, int]) -> dict:
    """A picture of the part of the image between two corners."""
    left, top = points.min(0).astype(int)
    try:
        patch = Image.open(io.BytesIO(base64.b64decode(picture)))
        if patch.width > size[0] or patch.height > size[1]:
            raise ValueError("it is larger than its image")
        patch = patch.convert("L")
    except (OSError, SyntaxError, TypeError, ValueError) as error:
        raise UserError("a shape of the kind 'mask' holds no picture; draw it again.") from error
    whole = Image.new("L", size)
    whole.paste(patch, (int(left), int(top)))
    return coco.encode(np.asfortranarray(np.asarray(whole) > 0, np.uint8))


def coco_regions(annotation: dict[str, Any], size: tuple[int, int]) -> Iterable[dict | None]:
    """The regions of an annotation of COCO's, None for one without area.

    Args:
      annotation: from its JSON.
      size: the image's width and height in pixels.

    Raises:
      UserError: a region lies far outside, or is not of this size.
    """
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        yield _runs(segmentation, size)
    elif segmentation:
        for flat in segmentation:
            yield _polygon(np.array(flat, float).reshape(-1, 2), size)
    else:  # where nothing else is drawn, the box is what is marked
        left, top, width, height = annotation["bbox"]
        yield _polygon(_corners(left, top, left + width, top + height), size)


def _corners(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)


def _polygon(points: np.ndarray, size: tuple[int, int]) -> dict | None:
    width, height = size
    if len(points) < 3:
        return None
    steps = np.abs(np.diff(_checked(points, size), axis=0, append=points[:1])).max(axis=1)
    if steps.sum() > _LONGEST:  # pycocotools takes memory for all of it
        raise UserError(f"an outline is longer than {_LONGEST:,} pixels; draw it again.")
    flat = points.ravel().tolist()
    return coco.frPyObjects([flat], height, width)[0]


def _checked(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if points.ndim != 2 or points.shape[1] != 2:
        raise UserError("a shape has points that are not pairs of numbers; draw it again.")
    if not (np.abs(points) <= 10 * max(size)).all():  # these would take all memory; not a number
        raise UserError("a point lies far outside of its image; draw it again.")
    return points


def _runs(segmentation: dict[str, Any], size: tuple[int, int]) -> dict:
    """A run-length code, checked before pycocotools sees it, which would write anywhere."""
    width, height = size
    counts = segmentation["counts"]
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    whole = all(isinstance(run, int) and run >= 0 for run in runs)
    if list(segmentation["size"]) != [height, width] or not whole or sum(runs) != height * width:
        raise UserError(
            f"a run-length code is not that of {width}×{height} pixels, its image's size; export "
            "it again."
        )
    return coco.frPyObjects({"size": [height, width], "counts": runs}, height, width)


def _decompressed(text: str) -> list[int]:
    """The lengths of runs from COCO's compressed form: five bits a character, low ones first."""
    runs: list[int] = []
    value = shift = 0
    for character in text.encode():
        code = character - 48
        value |= (code & 31) << shift
        shift += 5
        if shift > _MOST_BITS:
            raise UserError("a run-length code has a run without end; export it again.")
        if not code & 32:
            value -= (code >> 4 & 1) << shift  # its sign
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
