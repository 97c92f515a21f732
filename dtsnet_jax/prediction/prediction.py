"""What a detector says of one photograph."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from data.geometry import Box, Placement, Size
from dtsnet_jax.prediction.limits import Decision
from dtsnet_jax.report.heatmaps import overlay

LONGEST = 1024  # pixels: the longer side of a picture
MOST = 20  # regions that are told of a photograph
_FOUND = {"OK": "green", "review": "orange", "NG": "red", None: "gray"}  # the frame of a picture


class Region(NamedTuple):
    """A part of a photograph beyond the limit.

    Attributes:
      box: left, upper, right, lower in pixels of the photograph.
      area: in pixels of the photograph.
      peak: the largest value of the map inside.
    """

    box: Box
    area: int
    peak: float


@dataclass(frozen=True)
class Prediction:
    """What a detector says of one photograph.

    Attributes:
      file: the photograph's path, None where it was given as an array or image.
      score: larger is more anomalous; not bounded, comparable within one detector.
      p_value: how likely a good part is to have such a score or a larger one, in
        [1 / (n + 1), 1] with n calibration images; None without any.
      decision: 'OK', 'review' or 'NG'; None where there are too few calibration images.
      map: (height, width) float32 of the network's image size (of photographs in tiles, of these
        put together), in the units of ``score``; 0 where nothing was looked at.
      regions: where the map is beyond the limit of what is to be looked at, at most 20, the
        highest first; [] without a limit.
      unusual: the p-value of the photograph as a whole, with what surrounds the part, by the
        teacher's mean features: small where light, camera or product are not those of training;
        None without calibration images.
      clipped: whether the photograph held values beyond the bit depth of the training images.
    """

    file: str | None
    score: float
    p_value: float | None
    decision: Decision | None
    map: np.ndarray
    regions: list[Region]
    unusual: float | None
    clipped: bool
    _placement: Placement = field(repr=False)
    _scale: tuple[float, float] = field(repr=False)
    _open: Callable[[Size], Image.Image] = field(repr=False)

    def picture(self) -> Image.Image:
        """The photograph, and beside it the heat map over it with a frame around every region.

        Colours mean the same in all pictures of a detector: none is the median of good parts, and
        pure red the limit. The longer side of either has at most 1,024 pixels.
        """
        height, width = self._placement.photograph
        scale = min(1.0, LONGEST / max(height, width))
        heat = self._placement.undo(self.map, scale=scale)
        image = self._open(heat.shape).resize(heat.shape[::-1], Image.Resampling.BILINEAR)
        hot = overlay(np.asarray(image), heat, self._scale)
        draw = ImageDraw.Draw(hot)
        for region in self.regions:
            draw.rectangle([round(side * scale) for side in region.box], outline="white")
        frame = 3
        sheet = Image.new("RGB", (2 * image.width + 3 * frame, image.height + 2 * frame))
        sheet.paste(_FOUND[self.decision], (0, 0, *sheet.size))
        sheet.paste(image, (frame, frame))
        sheet.paste(hot, (image.width + 2 * frame, frame))
        return sheet

    def show(self) -> None:
        """Shows ``picture`` in the viewer of the system."""
        self.picture().show()

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        buffer = io.BytesIO()
        self.picture().save(buffer, format="png")
        return buffer.getvalue()


def told_of(prediction: Prediction | None, *, drift: bool) -> dict:
    """What is written down of what a detector says, as fields of ``dtsnet_jax.prediction.log.Row``.

    Args:
      prediction: of a photograph, None where it could not be scored.
      drift: as ``Row.drift``, which of a photograph without a score is False.
    """
    if prediction is None:
        nothing = dict.fromkeys(("score", "p_value", "decision", "unusual"))
        return nothing | {"clipped": False, "drift": False, "regions": []}
    return {
        "score": prediction.score,
        "p_value": prediction.p_value,
        "decision": prediction.decision,
        "unusual": prediction.unusual,
        "clipped": prediction.clipped,
        "drift": drift,
        "regions": [region._asdict() for region in prediction.regions],
    }


def find_regions(score_map: np.ndarray, limit: float, placement: Placement) -> list[Region]:
    """The connected parts of a map beyond a limit, the highest ones first, at most 20.

    Args:
      score_map: (height, width).
      limit: values above it count; diagonal neighbours are connected.
      placement: where the map lies in the photograph.
    """
    labels, count = ndimage.label(score_map > limit, structure=np.ones((3, 3)))
    if not count:
        return []
    numbers = range(1, count + 1)
    areas = ndimage.sum_labels(np.ones_like(labels), labels, numbers)
    peaks = ndimage.maximum(score_map, labels, numbers)
    left, upper, right, lower = placement.source
    start, top, end, bottom = placement.target
    across, down = (right - left) / (end - start), (lower - upper) / (bottom - top)
    found = []
    for (rows, columns), area, peak in zip(ndimage.find_objects(labels), areas, peaks, strict=True):
        box = (
            round(left + (columns.start - start) * across),
            round(upper + (rows.start - top) * down),
            round(left + (columns.stop - start) * across),
            round(upper + (rows.stop - top) * down),
        )
        found.append(Region(box, max(1, round(area * across * down)), float(peak)))
    return sorted(found, key=lambda region: -region.peak)[:MOST]
