"""Puts the maps of overlapping tiles together to the map of a photograph, without seams."""

import numpy as np
from PIL import Image

from data.geometry import Placement, Size
from data.options import PixelOptions


class Stitching:
    """A map that grows tile by tile, of the tiles' resolution or the photograph's, the smaller one.

    Where tiles overlap, each counts the more the farther its border is: one fades into another.
    """

    def __init__(self, photograph: Size, options: PixelOptions):
        """Begins with no tile.

        Args:
          photograph: its height and width.
          options: how it is cut into tiles.
        """
        tile = options.tile_size
        self._tile = tile_shape(options)
        self._scales = [side / tile for side in self._tile]
        size = stitched_size(photograph, options)
        self._sum, self._weight = np.zeros(size, np.float32), np.zeros(size, np.float32)
        rows, columns = (_closeness(length) for length in self._tile)
        self._window = rows[:, None] * columns[None, :]

    def add(self, tile: Placement, values: np.ndarray) -> None:
        """Adds the map of a tile.

        Args:
          tile: which part of the photograph it is.
          values: (height, width) of the tile's array.
        """
        if values.shape != self._tile:
            image = Image.fromarray(values.astype(np.float32))
            values = np.asarray(image.resize(self._tile[::-1], Image.Resampling.BILINEAR))
        left, upper, _, _ = tile.source
        top, start = round(upper * self._scales[0]), round(left * self._scales[1])
        here = np.s_[top : top + values.shape[0], start : start + values.shape[1]]
        self._sum[here] += self._window * values
        self._weight[here] += self._window

    def result(self) -> np.ndarray:
        """The map of the photograph, float32; every pixel has to be in a tile."""
        return self._sum / self._weight


def tile_shape(options: PixelOptions) -> Size:
    """Height and width of a tile in the map of a photograph."""
    return tuple(min(side, options.tile_size) for side in options.size)


def stitched_size(photograph: Size, options: PixelOptions) -> Size:
    """Height and width of the map of a photograph in tiles."""
    return tuple(
        round((side - options.tile_size) * min(1.0, length / options.tile_size))
        + min(length, options.tile_size)
        for side, length in zip(photograph, options.size, strict=True)
    )


def _closeness(length: int) -> np.ndarray:
    """Of every position the distance to the nearer end, from 1 / length up."""
    positions = np.arange(length)
    return (np.minimum(positions, positions[::-1]) + 1).astype(np.float32) / length
