"""From one photograph to its score: the arrays that a network sees, and what its answers make."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from data.catalog import is_file
from data.files import MemoryFile
from data.geometry import Placement, Size, placements
from data.images import MEAN_COLOUR
from data.mask_arrays import resize_mask
from data.masks import open_mask
from data.opening import ImageFile, convert_image, image_size, in_turn, open_rgb
from data.options import PixelOptions
from data.region import region_files
from data.tiles import Stitching, tile_shape
from dtsnet_jax.detectors.fitted import Answer
from dtsnet_jax.errors import UserError
from dtsnet_jax.evaluation.scoring import mean_of_largest

Answers = Callable[[np.ndarray], Answer]  # of (n, height, width, 3) uint8, as NumPy arrays
Source = str | Path | MemoryFile | Image.Image | np.ndarray


class Opened(NamedTuple):
    """A photograph that is ready to be scored.

    Attributes:
      file: its path, None where it was given as an array or image.
      image: gives it as RGB again, at no less than a size.
      clipped: whether it held values beyond the bit depth of the training images.
      placements: which part of it is in which array: one, or of a photograph in tiles each tile.
      arrays: (k, height, width, 3) uint8.
      valid: where is looked, bool of the one array, or of a photograph in tiles of the photograph;
        None for everywhere.
    """

    file: str | None
    image: Callable[[Size], Image.Image]
    clipped: bool
    placements: list[Placement]
    arrays: np.ndarray
    valid: np.ndarray | None


@dataclass(frozen=True)
class Opener:
    """Opens photographs as those were that the detector was trained on.

    Attributes:
      options: how photographs become arrays.
      region: (height, width) bool, the region of interest of all photographs, or None.
      regions: the directory with a region of interest for each, or ''.
    """

    options: PixelOptions
    region: np.ndarray | None
    regions: str

    def open(self, source: Source) -> Opened:
        """Decodes a photograph and makes its arrays.

        Raises:
          UserError: it cannot be used.
        """
        if isinstance(source, (str, Path, MemoryFile)):
            return self._open_file(Path(source) if isinstance(source, str) else source)
        image, clipped = convert_image(source, self.options)
        if self.regions:
            raise UserError(
                f"data.region is the directory '{self.regions}', in which the masks go by the "
                "names of the photographs; give the photograph as a path."
            )
        size = image.size[::-1]
        return self._opened(None, image, clipped, size, self.region, lambda _: image)

    def _open_file(self, path: ImageFile) -> Opened:
        options = self.options
        reducible = options.antialias and not options.tile_size
        with in_turn(path):
            size = image_size(path)[::-1]
            at_least = options.size if reducible else None
            image, clipped = open_rgb(path, options, at_least=at_least)
            region = self.region
            if self.regions:
                (mask,) = region_files([Path(str(path))], self.regions)
                region = open_mask(mask, path, invert=False)
            try:
                again = partial(_image, path, options)
                return self._opened(str(path), image, clipped, size, region, again)
            except UserError as error:
                raise UserError(f"image '{path}' cannot be scored: {error}") from error

    def _opened(
        self,
        file: str | None,
        image: Image.Image,
        clipped: bool,
        size: Size,
        region: np.ndarray | None,
        again: Callable[[Size], Image.Image],
    ) -> Opened:
        if region is not None and region.shape != size:
            raise UserError(
                f"it is {size[1]}×{size[0]} pixels, but the region of interest is "
                f"{region.shape[1]}×{region.shape[0]}; a mask has the size of its image."
            )
        try:
            places = placements(size, self.options)
        except ValueError as error:
            raise UserError(f"it has {error}, which the detector was trained on.") from error
        antialias = self.options.antialias
        arrays = [one.resize(image, antialias=antialias, fill=MEAN_COLOUR) for one in places]
        valid = region if self.options.tile_size else self._valid(places[0], region)
        if valid is not None and not valid.any():
            raise UserError(
                "the region of interest leaves nothing of it to look at; mark what is of interest "
                "with anything but black."
            )
        stacked = np.stack([np.asarray(one) for one in arrays])
        return Opened(file, again, clipped, places, stacked, valid)

    def _valid(self, placement: Placement, region: np.ndarray | None) -> np.ndarray | None:
        valid = placement.covered if self.options.fit == "pad" else None
        if region is None:
            return valid
        coverage = Image.fromarray(region.astype(np.float32))
        inside = np.asarray(placement.resize(coverage, antialias=self.options.antialias)) > 0.5
        return inside if valid is None else inside & valid


def make_opener(options: PixelOptions, region: str, image: Path) -> Opener:
    """Opens photographs with ``data.region``: '', a mask for all, or a directory of masks.

    Args:
      options: how photographs become arrays.
      region: of the configuration.
      image: one of the photographs that the mask is for.

    Raises:
      UserError: the mask cannot be decoded.
    """
    path = Path(region).expanduser()
    if not region or not is_file(path):
        return Opener(options, None, region)
    return Opener(options, open_mask(path, image, invert=False), "")


def _image(path: ImageFile, options: PixelOptions, at_least: Size) -> Image.Image:
    with in_turn(path):
        return open_rgb(path, options, at_least=at_least).image


class Scored(NamedTuple):
    """What is said of a photograph.

    Attributes:
      score: larger is more anomalous.
      map: (height, width) float32, 0 where nothing was looked at.
      peak: the largest value of the map.
      features: (c,) float32, the teacher's, averaged over positions and tiles.
      placement: where the map lies in the photograph.
    """

    score: float
    map: np.ndarray
    peak: float
    features: np.ndarray
    placement: Placement


def score_photographs(
    photographs: Sequence[Opened], answers: Answers, options: PixelOptions, *, top_share: float
) -> list[Scored]:
    """Scores photographs, all their arrays at once.

    Args:
      photographs: one or more.
      answers: of the detector.
      options: how they became arrays.
      top_share: as ``ScoringOptions.top_share``.
    """
    maps, features = answers(np.concatenate([one.arrays for one in photographs]))
    ends = np.cumsum([len(one.arrays) for one in photographs])[:-1]
    finish = partial(_stitched, options) if options.tile_size else _whole
    return [
        finish(one, its_maps, its_features.mean(axis=0), top_share)
        for one, its_maps, its_features in zip(
            photographs, np.split(maps, ends), np.split(features, ends), strict=True
        )
    ]


def _whole(photograph: Opened, maps: np.ndarray, features: np.ndarray, top_share: float) -> Scored:
    (placement,), (score_map,) = photograph.placements, maps
    looked_at = score_map
    if photograph.valid is not None:
        looked_at = score_map[photograph.valid]
        score_map = np.where(photograph.valid, score_map, np.float32(0))
    score = mean_of_largest(looked_at, top_share)
    return Scored(score, score_map, float(score_map.max()), features, placement)


def _stitched(
    options: PixelOptions,
    photograph: Opened,
    maps: np.ndarray,
    features: np.ndarray,
    top_share: float,
) -> Scored:
    size = photograph.placements[0].photograph
    stitching = Stitching(size, options)
    for tile, values in zip(photograph.placements, maps, strict=True):
        stitching.add(tile, values)
    score_map = stitching.result()
    looked_at = score_map
    if photograph.valid is not None:
        inside = resize_mask(photograph.valid, score_map.shape)
        looked_at = score_map[inside]
        score_map = score_map * inside
    score = mean_of_largest(looked_at, top_share, of=prod(tile_shape(options)))
    height, width = score_map.shape
    placement = Placement(size, (0, 0, *size[::-1]), score_map.shape, (0, 0, width, height))
    return Scored(score, score_map, float(score_map.max()), features, placement)
