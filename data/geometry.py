"""Which part of a photograph fills which part of an array; sizes are (height, width)."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from data.options import Fit, PixelOptions

Size = tuple[int, int]
Box = tuple[int, int, int, int]  # left, upper, right, lower, as Pillow has it


@dataclass(frozen=True)
class Placement:
    """A part of a photograph, resized to fill a part of an array.

    Attributes:
      photograph: its size.
      source: the part, in pixels of the photograph.
      size: of the array.
      target: where the part goes, in pixels of the array.
    """

    photograph: Size
    source: Box
    size: Size
    target: Box

    @property
    def target_size(self) -> Size:
        """Height and width of what goes into the array."""
        left, upper, right, lower = self.target
        return lower - upper, right - left

    @property
    def covered(self) -> np.ndarray:
        """Where the array shows the photograph, (height, width) bool."""
        left, upper, right, lower = self.target
        result = np.zeros(self.size, bool)
        result[upper:lower, left:right] = True
        return result

    def resize(
        self, image: Image.Image, *, antialias: bool, fill: tuple[int, ...] | float = 0
    ) -> Image.Image:
        """The photograph's part in an image of the array's size.

        Args:
          image: the photograph, decoded at any size.
          antialias: as in ``PixelOptions``.
          fill: what stands where the photograph does not reach.
        """
        height, width = self.photograph
        across, down = image.width / width, image.height / height
        left, upper, right, lower = self.source
        box = (left * across, upper * down, right * across, lower * down)
        resized = _resize(image, box, self.target_size, antialias=antialias)
        if self.target_size == self.size:
            return resized
        result = Image.new(image.mode, self.size[::-1], fill)
        result.paste(resized, self.target[:2])
        return result

    def undo(self, values: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
        """Carries values of the array back to where they belong in the photograph.

        Args:
          values: (height, width) of the array.
          scale: the size of the result in multiples of the photograph's.

        Returns:
          float32, 0 where the array showed nothing.
        """
        left, upper, right, lower = self.target
        shown = Image.fromarray(np.asarray(values[upper:lower, left:right], np.float32))
        height, width = (max(1, round(side * scale)) for side in self.photograph)
        left, upper, right, lower = (round(side * scale) for side in self.source)
        extent = (max(1, right - left), max(1, lower - upper))
        result = Image.new("F", (width, height), 0.0)
        result.paste(shown.resize(extent, Image.Resampling.BILINEAR), (left, upper))
        return np.asarray(result)


def _resize(
    image: Image.Image, box: tuple[float, ...], size: Size, *, antialias: bool
) -> Image.Image:
    if antialias:
        return image.resize(size[::-1], Image.Resampling.BILINEAR, box)
    import cv2  # slow to import, and only the released code's pixels need it

    part = np.asarray(image.crop(tuple(map(round, box))))
    return Image.fromarray(cv2.resize(part, size[::-1], interpolation=cv2.INTER_LINEAR))


def place(
    photograph: Size, size: Size, fit: Fit, *, largest_scale: float = float("inf")
) -> Placement:
    """Fits a photograph into an array.

    Args:
      photograph: its height and width.
      size: the array's.
      fit: 'stretch' fills the array and changes the aspect (paper), 'pad' keeps the aspect and
        leaves even margins, 'crop' keeps the aspect and cuts off what sticks out, evenly.
      largest_scale: 'pad' leaves larger margins rather than enlarge a photograph more than this.
    """
    height, width = photograph
    whole, filled = (0, 0, width, height), (0, 0, size[1], size[0])
    if fit == "stretch":
        return Placement(photograph, whole, size, filled)
    if fit == "pad":
        scale = min(size[0] / height, size[1] / width, largest_scale)
        inner = (round(height * scale), round(width * scale))
        return Placement(photograph, whole, size, _centred(inner, size))
    scale = max(size[0] / height, size[1] / width)
    inner = (round(size[0] / scale), round(size[1] / scale))
    return Placement(photograph, _centred(inner, photograph), size, filled)


def _centred(inner: Size, outer: Size) -> Box:
    height, width = (max(1, min(a, b)) for a, b in zip(inner, outer, strict=True))
    upper, left = (outer[0] - height) // 2, (outer[1] - width) // 2
    return left, upper, left + width, upper + height


def placements(photograph: Size, options: PixelOptions) -> list[Placement]:
    """What arrays a photograph gives: one, or where it is cut into tiles one a tile, row by row.

    Raises:
      ValueError: the photograph is smaller than a tile.
    """
    size = options.size
    if not options.tile_size:
        return [place(photograph, size, options.fit, largest_scale=options.largest_scale)]
    filled = (0, 0, size[1], size[0])
    return [
        Placement(photograph, box, size, filled)
        for box in tile_boxes(photograph, options.tile_size, options.tile_overlap)
    ]


def tile_boxes(photograph: Size, tile_size: int, overlap: int) -> list[Box]:
    """Cuts a photograph into square tiles that cover all of it; the last of a row moves inwards.

    Raises:
      ValueError: the photograph is smaller than a tile.
    """
    if min(photograph) < tile_size:
        height, width = photograph
        raise ValueError(f"{width}×{height} pixels, less than a tile of {tile_size}")
    step = tile_size - overlap
    rows, columns = ([*range(0, side - tile_size, step), side - tile_size] for side in photograph)
    return [(left, top, left + tile_size, top + tile_size) for top in rows for left in columns]
