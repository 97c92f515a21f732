"""Puts the maps of overlapping tiles together to the map of a photograph, without seams."""

import numpy as np

from data.geometry import Placement, Size
from data.options import PixelOptions


class Stitching:
    """A map that grows tile by tile, in pixels of the tiles' arrays.

    Where tiles overlap, each counts the more the farther its border is: one fades into another.
    """

    def __init__(self, photograph: Size, options: PixelOptions):
        """Begins with no tile.

        Args:
          photograph: its height and width.
          options: how it is cut into tiles.
        """
        self._scales = [side / options.tile_size for side in options.size]
        size = tuple(
            round((side - options.tile_size) * scale) + length
            for side, scale, length in zip(photograph, self._scales, options.size, strict=True)
        )
        self._sum, self._weight = np.zeros(size, np.float32), np.zeros(size, np.float32)
        rows, columns = (_closeness(length) for length in options.size)
        self._window = rows[:, None] * columns[None, :]

    def add(self, tile: Placement, values: np.ndarray) -> None:
        """Adds the map of a tile.

        Args:
          tile: which part of the photograph it is.
          values: (height, width) of the tile's array.
        """
        left, upper, _, _ = tile.source
        top, start = round(upper * self._scales[0]), round(left * self._scales[1])
        here = np.s_[top : top + values.shape[0], start : start + values.shape[1]]
        self._sum[here] += self._window * values
        self._weight[here] += self._window

    def result(self) -> np.ndarray:
        """The map of the photograph, float32; every pixel has to be in a tile."""
        return self._sum / self._weight


def _closeness(length: int) -> np.ndarray:
    """Of every position the distance to the nearer end, from 1 / length up."""
    positions = np.arange(length)
    return (np.minimum(positions, positions[::-1]) + 1).astype(np.float32) / length
