"""The student and the nearest neighbours as one detector: their score maps are added.

Both rest on the same teacher, but a student answers with what it can reconstruct and neighbours
with what has been seen, so they err on different images.
"""

from dataclasses import replace

import jax
import numpy as np

from dtsnet_jax.detectors.fitted import Fitted
from dtsnet_jax.detectors.neighbors import NeighborDetector
from dtsnet_jax.detectors.student import StudentDetector
from dtsnet_jax.devices.processes import from_first
from dtsnet_jax.evaluation.scoring import ScoringOptions, mean_of_largest
from dtsnet_jax.inputs.category import CategoryImages
from dtsnet_jax.seed_run import SeedRun
from dtsnet_jax.training.schedule import Length


class FusedDetector:
    """Learns both, as ``dtsnet_jax.detectors.fitted.Detector`` says."""

    def __init__(self, student: StudentDetector, neighbors: NeighborDetector):
        self._student, self._neighbors = student, neighbors

    def last_step(self, images: int, length: Length) -> int:
        """The student's."""
        return self._student.last_step(images, length)

    def fit(
        self, images: CategoryImages, run: SeedRun, *, length: Length, scoring: ScoringOptions
    ) -> None:
        """Fills the bank, which takes a minute, and then trains the student."""
        if not from_first(run.bank.is_file):
            self._neighbors.fit(images, run, length=length, scoring=scoring)
        neighbors = self._neighbors.load(images, run, scoring)
        self._student.fit(
            images,
            run,
            length=length,
            scoring=scoring,
            measured=lambda student: fuse(student, neighbors, share=scoring.top_share),
        )

    def load(self, images: CategoryImages, run: SeedRun, scoring: ScoringOptions) -> Fitted:
        """Loads both."""
        student = self._student.load(images, run, scoring)
        neighbors = self._neighbors.load(images, run, scoring)
        return fuse(student, neighbors, share=scoring.top_share)


def fuse(student: Fitted, neighbors: Fitted, *, share: float) -> Fitted:
    """The sum of two detectors' score maps, each divided by its ``scale`` on good images.

    Args:
      student, neighbors: of the same images.
      share: ``ScoringOptions.top_share``.
    """
    parts = [(one.score, scale(one.good_maps(), share)) for one in (student, neighbors)]

    def score(images: jax.Array) -> jax.Array:
        return sum(maps_of(images) / unit for maps_of, unit in parts)

    return replace(student, score=score, seconds=student.seconds + neighbors.seconds)


def scale(good_maps: np.ndarray, share: float) -> float:
    """By what score maps are divided to be comparable: how much the scores of good images differ.

    Args:
      good_maps: (n, height, width), of good images.
      share: of ``mean_of_largest``, which gives the score of each.
    """
    return float(np.std([mean_of_largest(one, share) for one in good_maps]))
