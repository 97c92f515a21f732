"""Decodes image files of every common kind into arrays of one shape."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps
from tqdm import tqdm

from data.catalog import IMAGE_FORMATS
from data.geometry import Placement, placements
from data.options import BIT_DEPTHS, PixelOptions
from dtsnet_jax.errors import UserError

Image.MAX_IMAGE_PIXELS = None  # data.max_megapixels takes its place, with an error that names it

MEAN_COLOUR = (124, 116, 104)  # ImageNet's, which normalisation turns to zero: what is padded with
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_DEEP_COLOURS = ("LA;16", "RGB;16", "RGBA;16", "RGBX;16", "RGBa;16")  # Pillow's names, of a value
_DRAFT_MEGAPIXELS = 16.0  # JPEG files from here on are decoded at a fraction of their size
_LARGE_MEGAPIXELS = 64.0  # files from here on are decoded one at a time
_large = threading.Lock()


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


class Photograph(NamedTuple):
    """A decoded file as 8-bit RGB, and whether it held values beyond the bit depth."""

    image: Image.Image
    clipped: bool


class Decoded(NamedTuple):
    """The arrays of several files.

    Attributes:
      images: (n, height, width, 3) uint8; of files that are cut into tiles, all tiles in order.
      clipped: the files that held values beyond the bit depth.
    """

    images: np.ndarray
    clipped: list[Path]


def decode_image(path: Path, options: PixelOptions) -> np.ndarray:
    """Decodes a file and resizes it, or each of its tiles, see ``open_rgb`` and ``placements``.

    Returns:
      (tiles, height, width, 3) uint8 RGB; one tile where the photograph is taken whole.

    Raises:
      UserError: the file cannot be used.
    """
    return _decode(path, options)[0]


def _decode(path: Path, options: PixelOptions) -> tuple[np.ndarray, bool]:
    with _large if _megapixels(path) > _LARGE_MEGAPIXELS else nullcontext():
        image, clipped = open_rgb(path, options)
        arrays = [
            np.asarray(one.resize(image, antialias=options.antialias, fill=MEAN_COLOUR))
            for one in placements(image.size[::-1], options)
        ]
    return np.stack(arrays), clipped


def _megapixels(path: Path) -> float:
    width, height = image_size(path)
    return width * height / 1e6


def open_image(path: Path) -> Image.Image:
    """Decodes a file as it is, but turned as EXIF says; of 16-bit RGB it gives the largest values.

    Raises:
      UserError: the file is missing, empty, cut short or no image.
    """
    with _opened(path) as image:
        if image.mode == "RGB" and _is_deep(image):
            return _turned(_deep_values(path, image).max(-1), _orientation(image))
        image.load()
        return ImageOps.exif_transpose(image)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height that ``open_image`` would give, from the file's header alone.

    Raises:
      UserError: the file is missing, empty or no image.
    """
    with _opened(path) as image:
        return image.size[::-1] if _orientation(image) >= 5 else image.size


def _orientation(image: Image.Image) -> int:
    """The rotation noted in EXIF; a TIFF file has been turned already when it is opened."""
    if image.format == "TIFF":
        return 1
    # The base class's method, because that of PNG files decodes the whole image.
    return Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError) as error:
        size = path.stat().st_size if path.is_file() else None
        found = "does not exist" if size is None else f"cannot be decoded ({size} bytes: {error})"
        raise UserError(
            f"image '{path}' {found}; an intact {IMAGE_FORMATS} file was expected: replace "
            "or remove it."
        ) from error


def open_rgb(path: Path, options: PixelOptions) -> Photograph:
    """Decodes an image file of any accepted kind to 8-bit RGB, at its own size.

    8 to 16 bit, grey, palette, RGB, RGBA (alpha is dropped) and CMYK are accepted, and a rotation
    noted in EXIF is applied. Deep values are divided by the largest of the bit depth, never
    stretched to the range that happens to occur, so that images remain comparable. Of several pages
    the first is taken. A JPEG file of more than 16 megapixels that is to shrink is decoded at a
    half, quarter or eighth of its size, as long as that is twice what is needed.

    Args:
      path: a file of one of the ``IMAGE_FORMATS``.
      options: of these ``bit_depth``, ``max_megapixels`` and, for large files, the rest.

    Raises:
      UserError: the file is empty, cut short, no image, larger than allowed, or of a number format
        with no known range.
    """
    with _opened(path) as image:
        megapixels = image.width * image.height / 1e6
        if megapixels > options.max_megapixels:
            raise UserError(
                f"image '{path}' has {megapixels:.0f} megapixels, more than "
                f"data.max_megapixels={options.max_megapixels:g}; set that to {megapixels:.0f} or "
                "more if the file is meant to be so large."
            )
        if megapixels > _DRAFT_MEGAPIXELS and options.antialias and not options.tile_size:
            image.draft(None, (2 * options.size[1], 2 * options.size[0]))
        if _is_deep(image):
            return _scaled(_deep_values(path, image), options.bit_depth, _orientation(image))
        if image.mode == "F":
            raise UserError(
                f"image '{path}' holds floating-point numbers, whose range is not known; convert "
                "it to 8 or 16 bit."
            )
        image.load()
        return Photograph(ImageOps.exif_transpose(image).convert("RGB"), clipped=False)


def _is_deep(image: Image.Image) -> bool:
    """Whether a file, of which the header has been read, holds more than 8 bits a value."""
    # Pillow keeps the upper 8 bits only of colours with 16; the raw mode, such as RGB;16B, tells.
    raw_modes = (tile.args[0] if isinstance(tile.args, tuple) else tile.args for tile in image.tile)
    return image.mode in _DEEP_MODES or any(str(raw).startswith(_DEEP_COLOURS) for raw in raw_modes)


def _deep_values(path: Path, image: Image.Image) -> np.ndarray:
    """(height, width) or (height, width, 3) of whole numbers below 2¹⁶, as they lie in the file."""
    if image.mode in _DEEP_MODES:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(
                f"image '{path}' holds whole numbers from {values.min()} to {values.max()}; "
                "convert it to 8 or 16 bit."
            )
        return values
    import cv2  # slow to import, and only colours with 16 bits need it

    content = np.fromfile(path, np.uint8)
    values = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError("OpenCV cannot read its 16-bit colours")
    if values.ndim == 3 and values.shape[-1] >= 3:
        return values[..., 2::-1]  # from BGR or BGRA
    return values[..., 0] if values.ndim == 3 else values


def _scaled(values: np.ndarray, bit_depth: int, orientation: int) -> Photograph:
    largest = 2**bit_depth - 1
    clipped = bool(values.max() > largest)
    scaled = (np.minimum(values, largest).astype(np.uint32) * 255 + largest // 2) // largest
    return Photograph(_turned(scaled.astype(np.uint8), orientation).convert("RGB"), clipped)


def _turned(values: np.ndarray, orientation: int) -> Image.Image:
    image = Image.fromarray(values)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return ImageOps.exif_transpose(image)


def find_bit_depth(paths: Sequence[Path]) -> int:
    """The smallest of 8, 10, 12, 14 and 16 bits that holds all values of some files.

    Args:
      paths: images; those that hold 8 bits a value are not decoded.

    Raises:
      UserError: a file cannot be used.
    """
    largest = [0] * len(paths)

    def look(index: int) -> None:
        with _opened(paths[index]) as image:
            if _is_deep(image):
                largest[index] = int(_deep_values(paths[index], image).max())

    run_with_progress(look, len(paths), "bit depth")
    return next(bits for bits in BIT_DEPTHS if max(largest, default=0) < 2**bits)


def decode_images(paths: Sequence[Path], options: PixelOptions, *, what: str) -> Decoded:
    """Decodes many images in parallel, with a progress bar.

    Args:
      paths: the files.
      options: how.
      what: the bar's title.

    Raises:
      UserError: a file cannot be used, as in ``decode_image``.
    """
    starts = [0, *np.cumsum(count_arrays(paths, options))]
    result = np.empty((starts[-1], *options.size, 3), np.uint8)
    clipped = [False] * len(paths)

    def decode_into(index: int) -> None:
        arrays, clipped[index] = _decode(paths[index], options)
        result[starts[index] : starts[index + 1]] = arrays

    run_with_progress(decode_into, len(paths), what)
    return Decoded(result, [path for path, yes in zip(paths, clipped, strict=True) if yes])


def count_arrays(paths: Sequence[Path], options: PixelOptions) -> list[int]:
    """How many arrays each file gives: one, or as many as it has tiles; reads headers only.

    Raises:
      UserError: a photograph is smaller than a tile.
    """
    if not options.tile_size:
        return [1] * len(paths)
    return [len(placements_of(path, options)) for path in paths]


def placements_of(path: Path, options: PixelOptions) -> list[Placement]:
    """What of a photograph goes where, from its header.

    Raises:
      UserError: it is smaller than a tile, or no image.
    """
    try:
        return placements(image_size(path)[::-1], options)
    except ValueError as error:
        raise UserError(
            f"image '{path}' has {error}; choose a smaller data.tile_size, or 0 to take "
            "photographs whole."
        ) from error


def run_with_progress(
    function: Callable[[int], None], count: int, what: str, *, workers: int | None = None
) -> None:
    """Calls ``function(index)`` for all indices in threads; the first error ends it."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(function, index) for index in range(count)]
        try:
            for future in tqdm(futures, desc=what, unit="image", leave=False, delay=1):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
