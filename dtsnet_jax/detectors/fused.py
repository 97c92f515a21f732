"""The student and the nearest neighbours as one: their score maps are added.

Both rest on the same teacher, but a student answers with what it can reconstruct and neighbours
with what has been seen, so they err on different images.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import numpy as np

from dtsnet_jax.detectors.fitted import Answer, Fitted, Parts
from dtsnet_jax.detectors.neighbors import NeighborLearner
from dtsnet_jax.detectors.student import StudentLearner
from dtsnet_jax.devices.mesh import replicate
from dtsnet_jax.devices.processes import from_first
from dtsnet_jax.errors import UserError
from dtsnet_jax.evaluation.scoring import ScoringOptions
from dtsnet_jax.inputs.category import CategoryImages
from dtsnet_jax.inputs.sample import SAMPLE
from dtsnet_jax.seed_run import SeedRun
from dtsnet_jax.training.schedule import Length


class FusedLearner:
    """Learns both, as ``dtsnet_jax.detectors.fitted.Learner`` says."""

    def __init__(self, student: StudentLearner, neighbors: NeighborLearner):
        self._student, self._neighbors = student, neighbors

    def last_step(self, images: int, length: Length) -> int:
        """The student's."""
        return self._student.last_step(images, length)

    def fit(
        self, images: CategoryImages, run: SeedRun, *, length: Length, scoring: ScoringOptions
    ) -> None:
        """Fills the bank, unless that is done, and trains the student."""
        if not from_first(run.bank.is_file):
            self._neighbors.fit(images, run, length=length, scoring=scoring)
        added = self._added(images, run, scoring)  # refuses images that set no scale
        self._student.fit(images, run, length=length, scoring=scoring, as_measured=added)

    def load(self, images: CategoryImages, run: SeedRun, scoring: ScoringOptions) -> Fitted:
        """Loads both."""
        student = self._student.load(images, run, scoring)
        return self._added(images, run, scoring)(student)

    def _added(
        self, images: CategoryImages, run: SeedRun, scoring: ScoringOptions
    ) -> Callable[[Fitted], Fitted]:
        """The function from the student to both together, with neighbours that are loaded."""
        sample = images.normal_sample(SAMPLE)
        neighbors = self._neighbors.load(images, run, scoring)
        maps = self._neighbors.maps_of_others(sample, run, scoring)
        neighbors_unit = unit(maps, sample.valid)

        def add(student: Fitted) -> Fitted:
            maps = student.score_maps(sample.images, batch_size=scoring.batch_size)
            units = np.array([unit(maps, sample.valid), neighbors_unit], np.float32)
            units = replicate(units, student.mesh)
            parts = neighbors.parts | student.parts | {"units": units}
            answer = partial(self.answer, parts, scoring=scoring)
            seconds = student.seconds + neighbors.seconds
            return replace(student, parts=parts, answer=answer, seconds=seconds)

        return add

    def parts_like(self, scoring: ScoringOptions) -> Parts:
        """As ``Learner.parts_like``."""
        units = {"units": jax.ShapeDtypeStruct((2,), np.float32)}
        both = self._neighbors.parts_like(scoring) | self._student.parts_like(scoring)
        return both | units

    def answer(self, parts: Parts, images: jax.Array, scoring: ScoringOptions) -> Answer:
        """As ``Learner.answer``: the sum of the maps, each divided by its unit."""
        student, features = self._student.answer(parts, images, scoring)
        neighbors, _ = self._neighbors.answer(parts, images, scoring)
        units = parts["units"]
        return Answer(student / units[0] + neighbors / units[1], features)


def unit(maps: np.ndarray, valid: np.ndarray | None) -> float:
    """By what score maps are divided to be comparable: how much good images differ in their score.

    The student has been trained on the images, the neighbours have not seen them. On held-back ones
    of four data sets the student's unit was 0.9 to 1.4 times as large.

    Args:
      maps: (n, height, width), of good images, or of tiles of some.
      valid: (n, height, width) bool, where is looked, or None for everywhere.

    Returns:
      The standard deviation of the largest scores of the images.

    Raises:
      UserError: these are all the same.
    """
    if valid is not None:
        somewhere = valid.any(axis=(1, 2))  # tiles beside the region of interest have no score
        maps = np.where(valid, maps, np.float32(0))[somewhere]
    spread = float(maps.max(axis=(1, 2)).std()) if len(maps) else 0.0
    if not 0 < spread < float("inf"):
        raise UserError(
            f"the {len(maps)} good images or tiles that set the scale of detector 'student+knn' "
            "all have the same score, expected two or more that differ; add good images, look at "
            "more of them (data.region), or set --config.detector=student."
        )
    return spread
