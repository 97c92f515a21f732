"""Decodes image files of every common kind into arrays of one shape."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps
from tqdm import tqdm

from data.catalog import IMAGE_FORMATS
from dtsnet_jax.errors import UserError

_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")


@dataclass(frozen=True)
class TrainingImages:
    """Decoded images in memory; nothing is decoded again after they are made.

    Attributes:
      normal: (n, size, size, 3) uint8, the good images.
      foreground: (n, size, size) bool, M_f, or None where all is foreground.
      textures: (t, size, size, 3) uint8, or None where nothing is synthesised.
    """

    normal: np.ndarray
    foreground: np.ndarray | None
    textures: np.ndarray | None


def decode_image(path: Path, size: int) -> np.ndarray:
    """Decodes and resizes an image.

    8 and 16 bit, grey, palette, RGB, RGBA (alpha is dropped) and CMYK are accepted, and a rotation
    noted in EXIF is applied. 16-bit values are divided by 257, never stretched to the range that
    happens to occur, so that images remain comparable. Of several pages the first is taken. The
    aspect ratio is not kept (as in the paper); resizing is bilinear with antialiasing.

    Args:
      path: a file of one of the ``IMAGE_FORMATS``.
      size: height and width of the result.

    Returns:
      (size, size, 3) uint8 RGB.

    Raises:
      UserError: the file is empty, cut short, no image, or of a number format with no known range.
    """
    return np.asarray(open_rgb(path).resize((size, size), Image.Resampling.BILINEAR))


def open_image(path: Path) -> Image.Image:
    """Decodes an image file as it is, but for a rotation noted in EXIF.

    Raises:
      UserError: the file is missing, empty, cut short or no image.
    """
    with _opened(path) as image:
        image.load()
        return ImageOps.exif_transpose(image)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height that ``open_image`` would give, from the file's header alone.

    Raises:
      UserError: the file is missing, empty or no image.
    """
    with _opened(path) as image:
        # The base class's method, because that of PNG files decodes the whole image.
        rotation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
        # A TIFF file's size has been turned already when it is opened.
        return image.size[::-1] if rotation >= 5 and image.format != "TIFF" else image.size


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        size = path.stat().st_size if path.is_file() else None
        found = "does not exist" if size is None else f"cannot be decoded ({size} bytes: {error})"
        raise UserError(
            f"image '{path}' {found}; an intact {IMAGE_FORMATS} file was expected: replace "
            "or remove it."
        ) from error


def open_rgb(path: Path) -> Image.Image:
    """Decodes an image file of any accepted kind to 8-bit RGB, see ``decode_image``.

    Raises:
      UserError: the file cannot be used.
    """
    image = open_image(path)
    if image.mode in _DEEP_MODES:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(
                f"image '{path}' holds whole numbers from {values.min()} to {values.max()}; "
                "convert it to 8 or 16 bit."
            )
        image = Image.fromarray((values // 257).astype(np.uint8))
    elif image.mode == "F":
        raise UserError(
            f"image '{path}' holds floating-point numbers, whose range is not known; convert it to "
            "8 or 16 bit."
        )
    return image.convert("RGB")


def decode_images(paths: Sequence[Path], size: int, *, what: str) -> np.ndarray:
    """Decodes many images in parallel, with a progress bar.

    Args:
      paths: the files.
      size: height and width of the results.
      what: the bar's title.

    Returns:
      (n, size, size, 3) uint8.

    Raises:
      UserError: a file cannot be used, as in ``decode_image``.
    """
    result = np.empty((len(paths), size, size, 3), np.uint8)

    def decode_into(index: int) -> None:
        result[index] = decode_image(paths[index], size)

    run_with_progress(decode_into, len(paths), what)
    return result


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
