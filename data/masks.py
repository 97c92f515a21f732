"""Masks of every common kind, opened at the size of their image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from data.annotations import Marks, read_annotations
from data.catalog import Sample
from data.images import run_with_progress
from data.opening import ImageFile, image_size, open_image
from dtsnet_jax.errors import UserError

_LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".webp", ".jp2", ".j2k"})


def is_json(path: Path) -> bool:
    """Whether a file holds outlines rather than a picture."""
    return path.suffix.lower() == ".json"


def open_mask(path: Path, image_path: ImageFile, *, invert: bool) -> np.ndarray:
    """Decodes a mask at its own size.

    Of a picture everything that is not black is defect; in formats that blur, JPEG, WebP and JPEG
    2000, everything above half. A palette counts by its colours. What is transparent is no defect,
    and if all the rest has one colour, be it black, the rest is. Of JSON, what
    ``data.annotations`` draws.

    Args:
      path: a picture, or JSON of LabelMe or COCO.
      image_path: the image it belongs to, whose size it must have.
      invert: whether black marks the defect; outlines in JSON are never inverted.

    Returns:
      (height, width) bool.

    Raises:
      UserError: the file cannot be decoded, or its size is not the image's.
    """
    check_mask_size(path, image_path)
    if is_json(path):
        return _find_marks(path, image_path).draw()
    marked = _marked_pixels(open_image(path), path)
    return ~marked if invert else marked


def _marked_pixels(mask: Image.Image, path: Path) -> np.ndarray:
    deep = mask.mode.startswith("I")  # 16 or 32 bit
    if mask.has_transparency_data and not deep:
        rgba = np.asarray(mask.convert("RGBA"))
        values, opaque = rgba[..., :3], rgba[..., 3] > 127
        if not opaque.all() and _is_uniform(values[opaque]):
            return opaque
        values = values * opaque[..., None]
    else:
        plain = deep or mask.mode in ("1", "L", "F", "RGB")
        values = np.asarray(mask if plain else mask.convert("RGB"))
    if values.ndim == 3:
        values = values.max(axis=-1)
    half = 32767 if deep else 127
    return values > (half if path.suffix.lower() in _LOSSY_SUFFIXES else 0)


def _is_uniform(colours: np.ndarray) -> bool:
    """Whether (n, 3) colours, of which there are some, are one."""
    return len(colours) > 0 and bool((colours == colours[0]).all())


def check_mask_size(path: Path, image_path: ImageFile) -> None:
    """Compares the sizes that a mask and its image state, without decoding them.

    Raises:
      UserError: they differ, or a file is missing, empty or of no known kind.
    """
    if is_json(path):
        width, height = _find_marks(path, image_path).size
    else:
        width, height = image_size(path)
    image_width, image_height = image_size(image_path)
    if (width, height) != (image_width, image_height):
        raise UserError(
            f"mask '{path}' is {width}×{height} pixels, but its image '{image_path}' is "
            f"{image_width}×{image_height}; a mask has the size of its image."
        )


def _find_marks(path: Path, image_path: ImageFile) -> Marks:
    annotations = read_annotations(path)
    marks = annotations.find(image_path) if annotations else None
    if marks is None:
        raise UserError(
            f"mask '{path}' says nothing of the image '{image_path}'; LabelMe's or COCO's JSON "
            "that does was expected."
        )
    return marks


def open_masks(sample: Sample, *, invert: bool) -> np.ndarray:
    """The union of a sample's masks at their own size, empty if it has none.

    Returns:
      (height, width) bool.

    Raises:
      UserError: as for ``open_mask``.
    """
    if not sample.masks:
        return np.zeros(image_size(sample.path)[::-1], bool)
    return np.logical_or.reduce(
        [open_mask(path, sample.path, invert=invert) for path in sample.masks]
    )


def inspect_masks(samples: Sequence[Sample], *, invert: bool) -> list[str]:
    """Decodes all masks once to find those that cannot be used or are unlikely.

    Args:
      samples: images with or without masks.
      invert: whether black marks the defect.

    Returns:
      At most three lines: which mark more than half of their image, nothing, or have lines and
      points that were left out.

    Raises:
      UserError: as for ``open_mask``.
    """
    masked = [sample for sample in samples if sample.masks]
    shares, without_area = np.zeros(len(masked)), np.zeros(len(masked), int)

    def inspect(index: int) -> None:
        sample = masked[index]
        shares[index] = open_masks(sample, invert=invert).mean()
        for path in sample.masks:
            if is_json(path):
                without_area[index] += _find_marks(path, sample.path).without_area

    files = [sample.path for sample in masked]
    run_with_progress(inspect, len(masked), "looking at masks", files=files)
    large = [masked[index] for index in np.flatnonzero(shares > 0.5)]
    inversion = ""
    if not all(is_json(path) for sample in large for path in sample.masks):
        marks = "does not mark" if invert else "marks"
        inversion = f"; if zero {marks} the defect, set --config.data.invert_masks={not invert}"
    findings = (
        (shares > 0.5, "mark more than half of their image", inversion),
        (shares == 0, "mark nothing", ""),
        (without_area > 0, "have lines or points, which cover nothing and are left out", ""),
    )
    return [
        f"masks: {found.sum()} {what} (first: {_name(masked[int(found.argmax())])}){advice}"
        for found, what, advice in findings
        if found.any()
    ]


def _name(sample: Sample) -> str:
    mask = sample.masks[0]
    return f"{mask} of {sample.path}" if is_json(mask) else f"{mask}"
