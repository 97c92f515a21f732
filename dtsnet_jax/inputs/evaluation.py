"""The test images of a category, and how a detector's answers to them become score maps."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.catalog import Catalog
from data.geometry import Placement
from data.images import Decoded, count_arrays, decode_images, image_size, open_rgb, placements_of
from data.mask_arrays import decode_masks, decode_valid
from data.masks import open_mask
from data.options import PixelOptions
from data.tiles import Stitching
from dtsnet_jax.evaluation.scoring import Scores

ScoreMaps = Callable[..., np.ndarray]


@dataclass(frozen=True)
class EvaluationImages:
    """The test images of a category.

    Attributes:
      catalog: where they lie.
      tiles: how they are cut into tiles, which are decoded when they are scored; None where
        photographs are taken whole.
      frame: how photographs become arrays of the score maps' size.
      decoded: the arrays, or None where there are tiles.
      masks: (n, height, width) bool, or None where there is no ground truth of pixels.
      inverted: whether black marks the defect in their files.
      regions: the file of each image's region of interest, or None where all is of interest.
      valid: (n, height, width) bool, where is looked, or None for everywhere.
    """

    catalog: Catalog
    tiles: PixelOptions | None
    frame: PixelOptions
    decoded: Decoded | None
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
        clipped = self.decoded.clipped if self.decoded else []
        if clipped:
            lines.append(
                f"{len(clipped)} test images hold values beyond {self.frame.bit_depth} bits, "
                f"which were clipped (first: {clipped[0]})"
            )
        return lines

    def placement(self, index: int) -> Placement:
        """Where the photograph with this number lies in its score map."""
        return placements_of(self.catalog.test[index].path, self.frame)[0]

    def score(self, score_maps: ScoreMaps, *, batch_size: int) -> Scores:
        """Scores all images, tile by tile where they are cut into tiles.

        Args:
          score_maps: ``Fitted.score_maps``.
          batch_size: images or tiles a time.
        """
        if self.tiles is None:
            maps = score_maps(self.decoded.images, batch_size=batch_size)
            if self.valid is not None:
                maps = np.where(self.valid, maps, np.float32(0))
            return Scores(maps, maps.max(axis=(1, 2)), self.valid, self.decoded.digests)
        count = len(self.catalog.test)
        maps = np.zeros((count, *self.frame.size), np.float32)
        scores, digests = np.zeros(count, np.float32), []
        for index in tqdm(range(count), desc="scoring", unit="image", leave=False, delay=1):
            stitched, digest = self._stitched(index, score_maps, batch_size)
            digests.append(digest)
            scores[index] = stitched.max()
            target = self.placement(index).target
            whole = Placement((0, 0, *stitched.shape[::-1]), target, self.frame.size)
            maps[index] = np.asarray(whole.resize(Image.fromarray(stitched), antialias=True))
        return Scores(maps, scores, self.valid, digests)

    def _stitched(
        self, index: int, score_maps: ScoreMaps, batch_size: int
    ) -> tuple[np.ndarray, str]:
        """Of a photograph the score map at the tiles' resolution, 0 outside its region; a hash."""
        path, options = self.catalog.test[index].path, self.tiles
        photograph = open_rgb(path, options).image
        stitching = Stitching(photograph.size[::-1], options)
        tiles, digest = placements_of(path, options), hashlib.sha256()
        for start in range(0, len(tiles), batch_size):
            some = tiles[start : start + batch_size]
            arrays = np.stack(
                [np.asarray(one.resize(photograph, antialias=options.antialias)) for one in some]
            )
            digest.update(arrays)
            maps = score_maps(arrays, batch_size=batch_size)
            for tile, values in zip(some, maps, strict=True):
                stitching.add(tile, values)
        stitched = stitching.result()
        if self.regions is not None:
            region = Image.fromarray(
                open_mask(self.regions[index], path, invert=False).astype(np.float32)
            )
            inside = np.asarray(region.resize(stitched.shape[::-1], Image.Resampling.BILINEAR))
            stitched[inside <= 0.5] = 0
        return stitched, digest.hexdigest()


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
    size = (round(max(heights) * scale), round(max(widths) * scale))
    return replace(options, size=size, fit="pad", tile_size=0)


def decode_test_images(
    catalog: Catalog,
    options: PixelOptions,
    frame: PixelOptions,
    *,
    regions: list[Path] | None,
    invert_masks: bool,
) -> EvaluationImages:
    """Decodes what is measured on; photographs that are cut into tiles are left for scoring.

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
    whole = not options.tile_size
    masks = None
    if catalog.has_masks:
        masks = decode_masks(catalog.test, frame, invert=invert_masks)
    return EvaluationImages(
        catalog=catalog,
        tiles=None if whole else options,
        frame=frame,
        decoded=decode_images(paths, options, what="test images") if whole else None,
        masks=masks,
        inverted=invert_masks,
        regions=regions,
        valid=decode_valid(paths, regions, frame),
    )
