"""Decodes image files into arrays of one shape."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data.geometry import Placement, placements
from data.opening import image_size, in_turn, largest_deep_value, open_rgb
from data.options import BIT_DEPTHS, PixelOptions
from dtsnet_jax.errors import UserError

MEAN_COLOUR = (124, 116, 104)  # ImageNet's, which normalisation turns to zero: what is padded with


@dataclass(frozen=True)
class TrainingImages:
    """Decoded images in memory; nothing is decoded again after they are made.

    Attributes:
      normal: (n, height, width, 3) uint8, the good images.
      foreground: (n, height, width) M_f, bool, or uint8 with 255 for all foreground where it is
        soft, or None where all is foreground.
      textures: (t, height, width, 3) uint8, or None where nothing is synthesised.
    """

    normal: np.ndarray
    foreground: np.ndarray | None
    textures: np.ndarray | None


class Facts(NamedTuple):
    """What is remembered of files beside their arrays.

    Attributes:
      clipped: the files that held values beyond the bit depth.
      digests: of every file a hash of its pixels, equal for equal pixels.
    """

    clipped: list[Path]
    digests: list[str]


class Decoded(NamedTuple):
    """The arrays of several files.

    Attributes:
      images: (n, height, width, 3) uint8; of files that are cut into tiles, all tiles in order.
      facts: of the files.
    """

    images: np.ndarray
    facts: Facts


def decode_image(path: Path, options: PixelOptions) -> np.ndarray:
    """Decodes a file and resizes it, or each of its tiles, see ``open_rgb`` and ``placements``.

    Returns:
      (tiles, height, width, 3) uint8 RGB; one tile where the photograph is taken whole.

    Raises:
      UserError: the file cannot be used.
    """
    return _decode(path, options)[0]


def _decode(path: Path, options: PixelOptions) -> tuple[np.ndarray, bool, str]:
    """The arrays of a file, whether values were clipped, and a hash."""
    reducible = options.antialias and not options.tile_size
    image, clipped = open_rgb(path, options, at_least=options.size if reducible else None)
    arrays = np.stack(
        [
            np.asarray(one.resize(image, antialias=options.antialias, fill=MEAN_COLOUR))
            for one in placements_of(path, options)
        ]
    )
    digest = hashlib.sha256(image.tobytes() if options.tile_size else arrays).hexdigest()
    return arrays, clipped, digest


def decode_images(paths: Sequence[Path], options: PixelOptions, *, what: str) -> Decoded:
    """Decodes many images in parallel, with a progress bar.

    Args:
      paths: the files.
      options: how.
      what: the bar's title.

    Raises:
      UserError: a file cannot be used, as in ``decode_image``.
    """
    count, places = array_places(paths, options)
    result = np.empty((count, *options.size, 3), np.uint8)
    clipped, digests = [False] * len(paths), [""] * len(paths)

    def decode_into(index: int) -> None:
        arrays, clipped[index], digests[index] = _decode(paths[index], options)
        result[places[index]] = arrays

    run_with_progress(decode_into, len(paths), what, files=paths)
    return Decoded(result, _facts(paths, clipped, digests))


def look_at_images(paths: Sequence[Path], options: PixelOptions, *, what: str) -> Facts:
    """Decodes photographs that are cut into tiles and keeps no array, to find what is broken.

    Args:
      paths: the files.
      options: how they are decoded.
      what: the bar's title.

    Raises:
      UserError: a file cannot be used.
    """
    clipped, digests = [False] * len(paths), [""] * len(paths)

    def look(index: int) -> None:
        image, clipped[index] = open_rgb(paths[index], options)
        digests[index] = hashlib.sha256(image.tobytes()).hexdigest()

    run_with_progress(look, len(paths), what, files=paths)
    return _facts(paths, clipped, digests)


def _facts(paths: Sequence[Path], clipped: Sequence[bool], digests: list[str]) -> Facts:
    return Facts([path for path, yes in zip(paths, clipped, strict=True) if yes], digests)


def find_bit_depth(paths: Sequence[Path], options: PixelOptions) -> int:
    """The smallest of 8, 10, 12, 14 and 16 bits that holds all values of some files.

    Args:
      paths: images; those that hold 8 bits a value are not decoded.
      options: of these ``max_megapixels``.

    Raises:
      UserError: a file cannot be used.
    """
    largest = [0] * len(paths)

    def look(index: int) -> None:
        largest[index] = largest_deep_value(paths[index], options)

    run_with_progress(look, len(paths), "bit depth", files=paths)
    return next(bits for bits in BIT_DEPTHS if max(largest, default=0) < 2**bits)


def count_arrays(paths: Sequence[Path], options: PixelOptions) -> list[int]:
    """How many arrays each file gives: one, or as many as it has tiles; reads headers only.

    Raises:
      UserError: a photograph is smaller than a tile.
    """
    if not options.tile_size:
        return [1] * len(paths)
    return [len(placements_of(path, options)) for path in paths]


def array_places(paths: Sequence[Path], options: PixelOptions) -> tuple[int, list[slice]]:
    """How many arrays files give together, and which of these are each file's.

    Raises:
      UserError: a photograph is smaller than a tile.
    """
    ends = np.cumsum(counts := count_arrays(paths, options)).tolist()
    places = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    return sum(counts), places


def placements_of(path: Path, options: PixelOptions) -> list[Placement]:
    """What of a photograph goes where, from its header.

    Raises:
      UserError: it is smaller than a tile, or no image.
    """
    size = image_size(path)[::-1]
    try:
        return placements(size, options)
    except ValueError as error:
        raise UserError(
            f"image '{path}' has {error}; choose a smaller data.tile_size, or 0 to take "
            "photographs whole."
        ) from error


def run_with_progress(
    function: Callable[[int], None],
    count: int,
    what: str,
    *,
    files: Sequence[Path] | None = None,
    workers: int | None = None,
) -> None:
    """Calls ``function(index)`` for all indices in threads; the first error ends it.

    Args:
      function: what is called.
      count: how often.
      what: the title of the progress bar.
      files: the image that each call decodes; large ones are not decoded side by side.
      workers: threads, or None for what suits the machine.
    """

    def call(index: int) -> None:
        with nullcontext() if files is None else in_turn(files[index]):
            function(index)

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(call, index) for index in range(count)]
        try:
            for future in tqdm(futures, desc=what, unit="image", leave=False, delay=1):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
