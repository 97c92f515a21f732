"""Masks as arrays that go with those of the images: defects, foregrounds, regions of interest."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from data.catalog import Sample
from data.geometry import Size
from data.images import array_places, placements_of, run_with_progress
from data.masks import check_mask_size, open_mask, open_masks
from data.options import PixelOptions
from dtsnet_jax.errors import UserError

Parts = Sequence[tuple[Sequence[Path], Sequence[Path] | None]]


def decode_mask(path: Path, options: PixelOptions, image_path: Path) -> np.ndarray:
    """Decodes a mask and resizes it, or each of its tiles, like its image.

    Args:
      path: the mask's file.
      options: how its image is decoded.
      image_path: the image it belongs to, whose size it must have.

    Returns:
      (tiles, height, width) float32, the share of every pixel that is marked.

    Raises:
      UserError: the file cannot be decoded, or its size is not the image's.
    """
    return _resized(open_mask(path, image_path, invert=False), options, image_path)


def _resized(mask: np.ndarray, options: PixelOptions, image_path: Path) -> np.ndarray:
    coverage = Image.fromarray(mask.astype(np.float32))
    return np.stack(
        [
            np.asarray(one.resize(coverage, antialias=options.antialias))
            for one in placements_of(image_path, options)
        ]
    )


def resize_mask(mask: np.ndarray, size: Size) -> np.ndarray:
    """Stretches a mask to another height and width; pixels of which more than half is marked are.

    Args:
      mask: (h, w) bool.
      size: height and width of the result.

    Returns:
      (height, width) bool.
    """
    coverage = Image.fromarray(mask.astype(np.float32))
    return np.asarray(coverage.resize(size[::-1], Image.Resampling.BILINEAR)) > 0.5


def decode_masks(samples: Sequence[Sample], options: PixelOptions, *, invert: bool) -> np.ndarray:
    """Decodes the masks of samples that are not cut into tiles; without one a mask is empty.

    Args:
      samples: images with or without masks.
      options: how the images are decoded.
      invert: whether black marks the defect.

    Returns:
      (n, height, width) bool; pixels of which more than half is defect are, antialiased whatever
      the options say (released).

    Raises:
      UserError: a mask cannot be decoded, or has another size than its image.
    """
    options = replace(options, antialias=True)
    result = np.zeros((len(samples), *options.size), bool)

    def decode_into(index: int) -> None:
        sample = samples[index]
        if sample.masks:
            mask = open_masks(sample, invert=invert)
            result[index] = _resized(mask, options, sample.path)[0] > 0.5

    files = [sample.path for sample in samples]
    run_with_progress(decode_into, len(samples), "masks", files=files)
    return result


def decode_foregrounds(parts: Parts, options: PixelOptions, *, soft: bool) -> np.ndarray:
    """Decodes the foregrounds of training images.

    Args:
      parts: images and, in the same order, the files of their foregrounds; None where all of these
        images is foreground.
      options: how the images are decoded.
      soft: whether a pixel of which a part is foreground stays so in part (released code).

    Returns:
      (n, height, width) bool, or where soft uint8 with 255 for all foreground, for the images of
      all parts or all their tiles.

    Raises:
      UserError: a mask cannot be decoded, or has another size than its image.
    """
    jobs = [
        (image, None if masks is None else masks[index])
        for images, masks in parts
        for index, image in enumerate(images)
    ]
    files = [image for image, _ in jobs]
    count, places = array_places(files, options)
    dtype, everything = (np.uint8, 255) if soft else (bool, True)
    result = np.full((count, *options.size), everything, dtype)

    def decode_into(index: int) -> None:
        image, mask = jobs[index]
        if mask is not None:
            coverage = decode_mask(mask, options, image)
            arrays = np.rint(255 * coverage) if soft else coverage > 0.5
            result[places[index]] = arrays

    run_with_progress(decode_into, len(jobs), "foregrounds", files=files)
    return result


def decode_valid(
    images: Sequence[Path], regions: Sequence[Path] | None, options: PixelOptions
) -> np.ndarray | None:
    """Where arrays show what is looked at: the region of interest, without the margins of padding.

    Args:
      images: the files.
      regions: the region's file of each image, or None where all is of interest.
      options: how the images are decoded.

    Returns:
      (n, height, width) bool for the images or all their tiles, or None where all is valid.

    Raises:
      UserError: a region cannot be decoded, or has another size than its image.
    """
    if regions is None and options.fit != "pad":
        return None
    count, places = array_places(images, options)
    result = np.ones((count, *options.size), bool)
    # One mask for all images of a fixed camera is decoded once.
    single = regions is not None and len(set(regions)) == 1
    shared = open_mask(regions[0], images[0], invert=False) if single else None

    def decode_into(index: int) -> None:
        image, valid = images[index], result[places[index]]
        valid[:] = [one.covered for one in placements_of(image, options)]
        if regions is None:
            return
        if shared is not None:
            check_mask_size(regions[0], image)
            valid &= _resized(shared, options, image) > 0.5
        else:
            valid &= decode_mask(regions[index], options, image) > 0.5
        if not valid.any():
            raise UserError(
                f"region of interest '{regions[index]}' leaves nothing of the image '{image}' to "
                "look at; mark what is of interest with anything but black."
            )

    run_with_progress(decode_into, len(images), "regions of interest", files=images)
    return result
