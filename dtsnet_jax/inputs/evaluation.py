"""The test images of a category, and how a detector's answers to them become score maps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.catalog import Catalog
from data.geometry import Placement, Size
from data.images import Facts, count_arrays, decode_images, look_at_images, placements_of
from data.mask_arrays import decode_masks, decode_valid, resize_mask
from data.masks import open_mask
from data.opening import image_size, open_rgb
from data.options import PixelOptions
from data.tiles import Stitching, stitched_size, tile_shape
from dtsnet_jax.evaluation.scoring import Scores, ScoringOptions, mean_of_largest

ScoreMaps = Callable[..., np.ndarray]


@dataclass(frozen=True)
class EvaluationImages:
    """The test images of a category.

    Attributes:
      catalog: where they lie.
      tiles: how they are cut into tiles, which are decoded again when they are scored; None where
        photographs are taken whole.
      frame: how photographs become arrays of the score maps' size.
      images: (n, height, width, 3) uint8, or None where there are tiles.
      facts: what is remembered of the files.
      masks: (n, height, width) bool, or None where there is no ground truth of pixels.
      inverted: whether black marks the defect in their files.
      regions: the file of each image's region of interest, or None where all is of interest.
      valid: (n, height, width) bool, where is looked, or None for everywhere.
    """

    catalog: Catalog
    tiles: PixelOptions | None
    frame: PixelOptions
    images: np.ndarray | None
    facts: Facts
    masks: np.ndarray | None
    inverted: bool
    regions: list[Path] | None
    valid: np.ndarray | None

    @property
    def labels(self) -> np.ndarray:
        """(n,) 0 for good, 1 for defective."""
        return np.array([sample.label for sample in self.catalog.test])

    @property
    def judged(self) -> np.ndarray:
        """(n,) bool, the images whose defective pixels are known: the good ones and the marked."""
        return np.array([not s.label or bool(s.masks) for s in self.catalog.test])

    def notes(self) -> list[str]:
        """What has to be said beside the metrics."""
        lines, judged, labels = [], self.judged, self.labels == 1
        if self.masks is not None and not judged.all():
            lines.append(
                f"pixel metrics are of the {(labels & judged).sum()} of {labels.sum()} defective "
                "images that have a mask"
            )
        lost = self._lost_masks()
        if lost:
            height, width = self.frame.size
            lines.append(
                f"{len(lost)} masks have no pixel left at {height} × {width} (first: {lost[0]}); "
                "such defects need tiles, or a larger image"
            )
        clipped = self.facts.clipped
        if clipped:
            lines.append(
                f"{len(clipped)} test images hold values beyond {self.frame.bit_depth} bits, "
                f"which were clipped (first: {clipped[0]})"
            )
        return lines

    def _lost_masks(self) -> list[Path]:
        """The first mask of every image of whose defect nothing is left in its array."""
        if self.masks is None:
            return []
        pairs = zip(self.catalog.test, self.masks, strict=True)
        return [sample.masks[0] for sample, mask in pairs if sample.masks and not mask.any()]

    def placement(self, index: int) -> Placement:
        """Where the photograph with this number lies in its score map."""
        return placements_of(self.catalog.test[index].path, self.frame)[0]

    def score(self, score_maps: ScoreMaps, options: ScoringOptions) -> Scores:
        """Scores all images, tile by tile where they are cut into tiles.

        Args:
          score_maps: ``Fitted.score_maps``.
          options: how many images or tiles a time, and how a map becomes the score of its image.
        """
        batch_size, share = options.batch_size, options.top_share
        if self.tiles is None:
            maps = score_maps(self.images, batch_size=batch_size)
            if self.valid is None:
                looked_at = maps
            else:
                maps = np.where(self.valid, maps, np.float32(0))
                looked_at = (one[valid] for one, valid in zip(maps, self.valid, strict=True))
            scores = [mean_of_largest(values, share) for values in looked_at]
            return Scores(maps, np.array(scores, np.float32), self.valid)
        count = len(self.catalog.test)
        maps = np.zeros((count, *self.frame.size), np.float32)
        scores = np.zeros(count, np.float32)
        for index in tqdm(range(count), desc="scoring", unit="image", leave=False, delay=1):
            stitched = self._stitched(index, score_maps, batch_size)
            looked_at = stitched
            if self.regions is None:
                maps[index] = self._placed(index, stitched)
            else:  # at the edge of the region only what lies inside counts
                inside = self._inside(index, stitched.shape)
                looked_at = stitched[inside > 0]
                stitched *= inside
                reduced, covered = (self._placed(index, one) for one in (stitched, inside))
                np.divide(reduced, covered, out=maps[index], where=covered > 0)
            scores[index] = mean_of_largest(looked_at, share, of=prod(tile_shape(self.tiles)))
        if self.valid is not None:
            maps[~self.valid] = 0
        return Scores(maps, scores, self.valid)

    def _stitched(self, index: int, score_maps: ScoreMaps, batch_size: int) -> np.ndarray:
        """The score map of a whole photograph, however many tiles it has."""
        path, options = self.catalog.test[index].path, self.tiles
        photograph = open_rgb(path, options).image
        stitching = Stitching(photograph.size[::-1], options)
        tiles = placements_of(path, options)
        for start in range(0, len(tiles), batch_size):
            some = tiles[start : start + batch_size]
            arrays = [np.asarray(t.resize(photograph, antialias=options.antialias)) for t in some]
            maps = score_maps(np.stack(arrays), batch_size=batch_size)
            for tile, values in zip(some, maps, strict=True):
                stitching.add(tile, values)
        return stitching.result()

    def _inside(self, index: int, size: Size) -> np.ndarray:
        """1 in the region of interest of a photograph of this size, 0 elsewhere."""
        mask = open_mask(self.regions[index], self.catalog.test[index].path, invert=False)
        return resize_mask(mask, size).astype(np.float32)

    def _placed(self, index: int, values: np.ndarray) -> np.ndarray:
        """Reduces what has the aspect of a photograph into its place in the score map."""
        placed = self.placement(index)
        return np.asarray(placed.resize(Image.fromarray(values), antialias=True))


def map_frame(paths: Sequence[Path], options: PixelOptions, measure_at: int) -> PixelOptions:
    """How photographs lie in their score maps: as decoded, or where they are cut into tiles whole.

    Args:
      paths: the test images.
      options: how photographs become arrays.
      measure_at: the longer side in pixels that the map of the largest photograph has if these are
        cut into tiles.

    Raises:
      UserError: a photograph is smaller than a tile, or no image.
    """
    if not options.tile_size:
        return options
    count_arrays(paths, options)  # refuses what is smaller than a tile
    widths, heights = zip(*(image_size(path) for path in paths), strict=True)
    scale = min(1.0, measure_at / max(*widths, *heights))
    size = tuple(max(1, round(max(sides) * scale)) for sides in (heights, widths))
    return replace(options, size=size, fit="pad", tile_size=0, largest_scale=scale)


def stitching_bytes(paths: Sequence[Path], options: PixelOptions) -> int:
    """What the largest photograph takes while its tiles are put together; 0 without tiles.

    Raises:
      UserError: one is smaller than a tile, or no image.
    """
    if not options.tile_size:
        return 0
    sizes = [image_size(path)[::-1] for path in paths]
    # Float32 of scores, their sum, its weights and the region; the photograph, 4 bytes a pixel, and
    # its region as bool, float32 and Pillow's copy of that.
    return max(16 * prod(stitched_size(size, options)) + 13 * prod(size) for size in sizes)


def decode_test_images(
    catalog: Catalog,
    options: PixelOptions,
    frame: PixelOptions,
    *,
    regions: list[Path] | None,
    invert_masks: bool,
) -> EvaluationImages:
    """Decodes what is measured on; of photographs that are cut into tiles no array is kept.

    Args:
      catalog: with test images.
      options: how photographs become arrays.
      frame: how they lie in their score maps, of ``map_frame``.
      regions: the file of each test image's region of interest, or None.
      invert_masks: whether black marks the defect.

    Raises:
      UserError: a file cannot be used.
    """
    paths = [sample.path for sample in catalog.test]
    images, masks = None, None
    if options.tile_size:
        facts = look_at_images(paths, options, what="looking at test images")
    else:
        images, facts = decode_images(paths, options, what="test images")
    if catalog.has_masks:
        masks = decode_masks(catalog.test, frame, invert=invert_masks)
    return EvaluationImages(
        catalog=catalog,
        tiles=options if options.tile_size else None,
        frame=frame,
        images=images,
        facts=facts,
        masks=masks,
        inverted=invert_masks,
        regions=regions,
        valid=decode_valid(paths, regions, frame),
    )
