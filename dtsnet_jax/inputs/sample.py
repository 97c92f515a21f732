"""Some of the training images, on which detectors are brought to one scale."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.images import count_arrays, decode_images
from data.mask_arrays import decode_valid
from data.options import PixelOptions

SAMPLE = 64  # training images that bring lengths of vectors and maps to one scale


class NormalSample(NamedTuple):
    """Training images, of photographs that are cut into tiles some of the tiles.

    Attributes:
      images: (m, height, width, 3) uint8.
      owners: (m,) of each the number of its photograph.
      valid: (m, height, width) bool, where is looked, or None for everywhere.
    """

    images: np.ndarray
    owners: np.ndarray
    valid: np.ndarray | None


def spread_places(total: int, count: int) -> np.ndarray:
    """At most ``count`` of ``total`` places, evenly spread from the first to the last, int."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(int)


def array_owners(paths: Sequence[Path], options: PixelOptions) -> np.ndarray:
    """Of every array that files give the number of its file.

    Raises:
      UserError: a photograph is smaller than a tile.
    """
    counts = count_arrays(paths, options)
    return np.repeat(np.arange(len(counts)), counts)


def decode_sample(
    paths: Sequence[Path], regions: Sequence[Path] | None, count: int, options: PixelOptions
) -> NormalSample:
    """Decodes at most ``count`` arrays, evenly spread over all that files give.

    Args:
      paths: the training images.
      regions: the region of interest of each, or None where all is of interest.
      count: how many.
      options: how they become arrays.

    Raises:
      UserError: a file cannot be used.
    """
    owners = array_owners(paths, options)
    places = spread_places(len(owners), count)
    files = np.unique(owners[places])
    some = [paths[file] for file in files]
    images = decode_images(some, options, what="training images").images
    valid = decode_valid(some, regions and [regions[file] for file in files], options)
    decoded = np.searchsorted(np.flatnonzero(np.isin(owners, files)), places)
    return NormalSample(images[decoded], owners[places], None if valid is None else valid[decoded])
