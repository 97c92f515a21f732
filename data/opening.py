"""Opens image files of every common kind as 8-bit RGB at their own size."""

import math
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

from data.catalog import IMAGE_FORMATS
from data.files import BoundedFile, MemoryFile, file_size
from data.geometry import Size
from data.options import PixelOptions
from dtsnet_jax.errors import UserError, first_line

Image.MAX_IMAGE_PIXELS = None  # data.max_megapixels takes its place, with an error that names it

_SCALED_FORMATS = ("PPM", "JPEG2000")  # whose deep greys Pillow stretches to 16 bits
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_TIFF_BITS, _TIFF_COLOURS, _TIFF_PLANES = 258, 262, 284  # tags of the TIFF 6.0 specification
_CMYK, _SEPARATE = 5, 2
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DRAFT_MEGAPIXELS = 16.0  # JPEG files from here on are decoded at a fraction of their size
_LARGE_MEGAPIXELS = 32.0  # files from here on are worked on one at a time
_DAMAGES = (  # of what Pillow raises, by format
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError),
    *(SyntaxError, TypeError, ValueError, struct.error),
)
_large = threading.Lock()

ImageFile = Path | MemoryFile


class Photograph(NamedTuple):
    """A decoded file.

    Attributes:
      image: 8-bit RGB.
      clipped: whether it held values beyond the bit depth.
    """

    image: Image.Image
    clipped: bool


@contextmanager
def in_turn(path: ImageFile) -> Iterator[None]:
    """Keeps large files from being in memory side by side; small ones do not wait.

    Raises:
      UserError: the file is missing, empty or no image.
    """
    width, height = image_size(path)
    if width * height < _LARGE_MEGAPIXELS * 1e6:
        yield
    else:
        with _large:
            yield


def open_image(path: Path) -> Image.Image:
    """Decodes a file as it is, but turned as EXIF says; of 16-bit RGB it gives the largest values.

    Raises:
      UserError: the file is missing, empty, cut short or no image.
    """
    with _opened(path) as image:
        if image.mode == "RGB" and is_deep(image, path):
            deepest = Image.fromarray(deep_values(image, path).max(axis=-1))
            return _upright(deepest, _orientation(image))
        return _upright(image, _orientation(image))


def image_size(path: ImageFile) -> tuple[int, int]:
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
    orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in _UPRIGHT else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    if orientation in _UPRIGHT:
        return image.transpose(_UPRIGHT[orientation])
    image.load()
    return image


@contextmanager
def _opened(path: ImageFile) -> Iterator[Image.Image]:
    try:
        # Of a file by name Pillow maps some into memory, and mixes up the sides of turned ones.
        with BoundedFile(path) as file, Image.open(file) as image:
            if image.mode in ("P", "PA") and image.palette is None:
                raise ValueError("its palette is missing")
            yield image
    except UserError:
        raise
    except _DAMAGES as error:
        size = file_size(path)
        found = (
            "does not exist"
            if size is None
            else f"cannot be decoded ({size} bytes: {first_line(error)})"
        )
        raise UserError(
            f"image '{path}' {found}; an intact {IMAGE_FORMATS} file was expected: replace "
            "or remove it."
        ) from error


def open_rgb(path: ImageFile, options: PixelOptions, *, at_least: Size | None = None) -> Photograph:
    """Decodes an image file of any accepted kind to 8-bit RGB.

    8 to 16 bit, grey, palette, RGB, RGBA (alpha is dropped) and CMYK are accepted, and a rotation
    noted in EXIF is applied. Deep values are divided by the largest of the bit depth, never
    stretched to the range that happens to occur, so that images remain comparable. Of several pages
    the first is taken.

    Args:
      path: a file of one of the ``IMAGE_FORMATS``.
      options: of these ``bit_depth`` and ``max_megapixels``.
      at_least: a JPEG file of more than 16 megapixels may be decoded at a half, quarter or eighth
        of its size as long as it has twice this height and width; None: files keep their size.

    Raises:
      UserError: the file is empty, cut short, no image, larger than allowed, or of a number format
        with no known range.
    """
    with _opened(path) as image:
        megapixels = _check_size(image, path, options.max_megapixels)
        if is_deep(image, path):
            return _scaled(deep_values(image, path), options.bit_depth, _orientation(image))
        if image.mode == "F":
            raise UserError(
                f"image '{path}' holds floating-point numbers, whose range is not known; convert "
                "it to 8 or 16 bit."
            )
        orientation = _orientation(image)
        if at_least is not None and megapixels > _DRAFT_MEGAPIXELS:
            image.draft(None, (2 * max(at_least),) * 2)
        upright = _upright(image, orientation)
        return Photograph(upright if upright.mode == "RGB" else upright.convert("RGB"), False)


def convert_image(source: Image.Image | np.ndarray, options: PixelOptions) -> Photograph:
    """Brings what has been opened already to 8-bit RGB, as ``open_rgb`` does with files.

    Args:
      source: an image; or an array (height, width), (height, width, 3) or (height, width, 4) of
        uint8 or uint16, RGB; alpha is dropped.
      options: of these ``bit_depth``.

    Raises:
      UserError: it is of another kind, empty, cut short, or of a file of more than 8 bits a value,
        of which Pillow keeps 8.
    """
    if isinstance(source, Image.Image):
        return _convert_pillow(source, options)
    values = np.asarray(source)
    shape = values.shape
    known = values.dtype in (np.uint8, np.uint16) and len(shape) in (2, 3) and values.size
    if not known or shape[2:] not in ((), (3,), (4,)):
        raise UserError(
            f"the image is an array {shape} of {values.dtype}, expected (height, width), (height, "
            "width, 3) or (height, width, 4) of uint8 or uint16."
        )
    values = values[..., :3] if len(shape) == 3 else values
    if values.dtype == np.uint8:
        return Photograph(Image.fromarray(values).convert("RGB"), False)
    return _scaled(values, options.bit_depth, 1)


def _convert_pillow(image: Image.Image, options: PixelOptions) -> Photograph:
    if image.format is not None and is_deep(image, Path(getattr(image, "filename", ""))):
        raise UserError(
            "the image is of a file with more than 8 bits a value, which Pillow does not keep as "
            "they are; give the file's path."
        )
    if image.mode in (*_DEEP_MODES, "F"):
        return convert_image(np.asarray(image), options)
    try:
        return Photograph(_upright(image, _orientation(image)).convert("RGB"), False)
    except OSError as error:
        raise UserError(
            f"the image cannot be decoded ({error}); open an intact one, or give a path."
        ) from error


def _check_size(image: Image.Image, path: ImageFile, max_megapixels: float) -> float:
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise UserError(
            f"image '{path}' has {megapixels:.1f} megapixels, more than "
            f"data.max_megapixels={max_megapixels:g}; set that to {math.ceil(megapixels)} if the "
            "file is meant to be so large."
        )
    return megapixels


def is_deep(image: Image.Image, path: ImageFile) -> bool:
    """Whether a file, of which the header has been read, holds more than 8 bits a value.

    Pillow keeps the upper 8 bits only of colours with more, so their headers are asked.
    """
    if image.mode == "F":  # floating point, with no bits to speak of
        return False
    if image.mode in _DEEP_MODES:
        return True
    if image.format == "TIFF":
        return max(image.tag_v2.get(_TIFF_BITS, (8,))) > 8
    if image.format == "JPEG2000":
        return _jpeg_2000_bits(path) > 8
    settings = image.tile[0].args if image.tile else ""
    if image.format == "PPM":
        return isinstance(settings, tuple) and isinstance(settings[-1], int) and settings[-1] > 255
    return image.format == "PNG" and ";16" in str(settings)


def _jpeg_2000_bits(path: ImageFile) -> int:
    """Bits a value by the codestream's header (ISO/IEC 15444-1, A.5.1)."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    start = head.find(b"\xff\x4f\xff\x51")
    return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 8


def deep_values(image: Image.Image, path: ImageFile) -> np.ndarray:
    """The values of a deep file as they lie in it.

    Returns:
      (height, width) or (height, width, 3) of whole numbers below 2¹⁶.

    Raises:
      UserError: they cannot be read, or are larger.
    """
    if image.mode in _DEEP_MODES and image.format not in _SCALED_FORMATS:
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(
                f"image '{path}' holds whole numbers from {values.min()} to {values.max()}; "
                "convert it to 8 or 16 bit."
            )
        return values
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if tags.get(_TIFF_PLANES) == _SEPARATE or tags.get(_TIFF_COLOURS) == _CMYK:
        raise UserError(
            f"image '{path}' holds its 16-bit colours plane by plane or as CMYK, which is not "
            "supported; convert it to RGB, pixel by pixel, or to PNG."
        )
    import cv2  # slow to import, and few files need it

    try:
        values = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f"OpenCV: {first_line(error)}") from error
    if values is None or values.dtype != np.uint16:
        raise ValueError("OpenCV cannot read its 16-bit values")
    if values.ndim == 3 and values.shape[-1] >= 3:
        return values[..., 2::-1]  # from BGR or BGRA
    return values[..., 0] if values.ndim == 3 else values


def _scaled(values: np.ndarray, bit_depth: int, orientation: int) -> Photograph:
    largest = 2**bit_depth - 1
    clipped = bool(values.max() > largest)
    scaled = (np.minimum(values, largest).astype(np.uint32) * 255 + largest // 2) // largest
    image = Image.fromarray(scaled.astype(np.uint8))
    return Photograph(_upright(image, orientation).convert("RGB"), clipped)


def largest_deep_value(path: Path, options: PixelOptions) -> int:
    """The largest value of a file that holds more than 8 bits a value, 0 of any other.

    Raises:
      UserError: as for ``open_rgb``.
    """
    with _opened(path) as image:
        _check_size(image, path, options.max_megapixels)
        return int(deep_values(image, path).max()) if is_deep(image, path) else 0
