"""Scores new photographs with what was learned: the way in from Python."""

from collections.abc import Sequence
from copy import copy
from functools import partial
from pathlib import Path

import jax
import numpy as np

from dtsnet_jax.detectors.ensemble import MEMBERS, joint_like, mean_answer
from dtsnet_jax.detectors.fitted import Answer
from dtsnet_jax.detectors.learner import build_learner, compute_dtype, scoring_options
from dtsnet_jax.devices.mesh import data_mesh, map_batches, replicate
from dtsnet_jax.errors import UserError
from dtsnet_jax.inputs.options import pixel_options
from dtsnet_jax.prediction.content import check_parts
from dtsnet_jax.prediction.drift import oddness
from dtsnet_jax.prediction.limits import find_limits, p_values
from dtsnet_jax.prediction.photographs import Opened, Opener, Scored, Source, score_photographs
from dtsnet_jax.prediction.prediction import Prediction, find_regions
from dtsnet_jax.prediction.saved import Choice, SavedDetector, choose_detector, read_detector
from dtsnet_jax.weights.teacher import restore_teacher

FEW = (1, 4)  # that are not filled up to a batch


class Detector:
    """A trained detector of one category; any number of threads may use it at once.

    Attributes:
      category: the category's name.
      fingerprint: names the weights and everything else that scores depend on.
      calibration: how good photographs score.
      limits: beyond which a part is to be reviewed or rejected; None where there are too few
        calibration images.
      false_alarms, review: the rates that were asked for.
      batch_size: how many photographs, or tiles of them, are computed at once.
      ahead: how many photographs it is wise to open before they are scored.
    """

    def __init__(self, saved: SavedDetector, *, false_alarms: float, review: float):
        """Puts a detector on the devices; what it computes is compiled when it is first used.

        Args:
          saved: what was read from its file.
          false_alarms, review: as ``threshold.false_alarms`` and ``threshold.review``.

        Raises:
          UserError: the rates cannot be, or the arrays are not those of its network.
        """
        config, about = saved.config, saved.about
        self.category, self.fingerprint = about["category"], about["fingerprint"]
        self.calibration = saved.calibration
        options = pixel_options(config, bit_depth=about["bit_depth"])
        regions = config.data.region if saved.region is None else ""
        self._opener = Opener(options, saved.region, regions)
        self._scoring = scoring_options(config)
        self.batch_size = config.scoring.batch_size
        self.ahead = 1 if options.tile_size else 4 * self.batch_size
        self._decide_at(false_alarms, review)
        self._oddness = oddness(self.calibration.features, self.calibration.usual)

        self._mesh = data_mesh()
        self._parts = replicate(saved.parts, self._mesh)
        teacher = restore_teacher(
            config.encoder.name,
            self._parts["teacher"],
            self._mesh,
            dtype=compute_dtype(config),
            digest=about["teacher"],
        )
        learner = build_learner(config, teacher)
        several = MEMBERS in saved.parts
        like = learner.parts_like(self._scoring)
        check_parts(saved.parts, joint_like(like, saved.parts) if several else like)
        if saved.calibration.features.shape[1] != sum(teacher.backbone.channels):
            raise UserError(
                f"the features of the detector's calibration images have "
                f"{saved.calibration.features.shape[1]} channels, expected "
                f"{sum(teacher.backbone.channels)}; make it anew with --job=evaluate --workdir=RUN."
            )
        answer = partial(mean_answer, learner) if several else learner.answer
        self._answer = jax.jit(partial(answer, scoring=self._scoring))

    def _decide_at(self, false_alarms: float, review: float) -> None:
        self.false_alarms, self.review = false_alarms, review
        scores, peaks = self.calibration.scores, self.calibration.peaks
        self.limits = find_limits(scores, false_alarms=false_alarms, review=review)
        self._peaks = find_limits(peaks, false_alarms=false_alarms, review=review)

    def with_rates(self, *, false_alarms: float, review: float) -> "Detector":
        """The same detector with other limits; nothing is loaded or compiled again.

        Args:
          false_alarms, review: as ``threshold.false_alarms`` and ``threshold.review``.

        Raises:
          UserError: the rates cannot be.
        """
        other = copy(self)
        other._decide_at(false_alarms, review)
        return other

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        category: str | None = None,
        seed: int | None = None,
        false_alarms: float | None = None,
        review: float | None = None,
    ) -> "Detector":
        """Loads a detector.

        Args:
          path: the directory of a run, or the file of a detector.
          category: which one of a run with several.
          seed, false_alarms, review: as for ``dtsnet_jax.prediction.saved.choose_detectors``.

        Raises:
          UserError: there is no such detector, or the rates cannot be.
        """
        choice = choose_detector(
            Path(path), category=category, seed=seed, false_alarms=false_alarms, review=review
        )
        return cls.chosen(choice)

    @classmethod
    def chosen(cls, choice: Choice) -> "Detector":
        """Loads what was chosen of a run.

        Raises:
          UserError: the file is damaged, or the rates cannot be.
        """
        saved = read_detector(choice.file)
        try:
            return cls(saved, false_alarms=choice.false_alarms, review=choice.review)
        except UserError as error:
            raise UserError(f"'{choice.file}': {error}") from error

    def __call__(
        self, photographs: Source | list[Source] | tuple[Source, ...]
    ) -> Prediction | list[Prediction]:
        """Scores a photograph, or several of them.

        Args:
          photographs: a path, a file in memory, a Pillow image, or an array (height, width),
            (height, width, 3) or (height, width, 4), uint8 or uint16, RGB; or a list or tuple of
            these.

        Returns:
          A prediction; of a list or tuple a list of them.

        Raises:
          UserError: a photograph cannot be used.
        """
        if not isinstance(photographs, (list, tuple)):
            return self.predict([self.open(photographs)])[0]
        predictions: list[Prediction] = []
        step = min(self.ahead, self.batch_size)
        for start in range(0, len(photographs), step):
            some = photographs[start : start + step]
            predictions += self.predict([self.open(one) for one in some])
        return predictions

    def open(self, source: Source) -> Opened:
        """Decodes a photograph; the first half of what a call does, which needs no device.

        Raises:
          UserError: it cannot be used.
        """
        return self._opener.open(source)

    def predict(self, photographs: Sequence[Opened]) -> list[Prediction]:
        """Scores decoded photographs, all at once; the second half of what a call does.

        Raises:
          UserError: a score or a feature is not finite.
        """
        options, top_share = self._opener.options, self._scoring.top_share
        scored = score_photographs(photographs, self._answers, options, top_share=top_share)
        return [self._prediction(*pair) for pair in zip(photographs, scored, strict=True)]

    def compile(self) -> None:
        """Compiles what is computed, which the first photographs would wait for otherwise."""
        size = self._opener.options.size
        for count in (*FEW, self.batch_size):
            self._answers(np.zeros((count, *size, 3), np.uint8))

    def _answers(self, arrays: np.ndarray) -> Answer:
        batch_size = next((few for few in FEW if len(arrays) <= few), self.batch_size)
        answer = partial(self._answer, self._parts)
        return map_batches(answer, arrays, batch_size=batch_size, mesh=self._mesh)

    def _prediction(self, photograph: Opened, scored: Scored) -> Prediction:
        calibration, limits = self.calibration, self.limits
        if not np.isfinite([scored.score, *scored.features]).all():
            raise UserError(
                f"the detector of '{self.category}' gives {photograph.file or 'a photograph'} the "
                f"score {scored.score}, expected a finite one: its weights are not those of a "
                "training that went well; train it again, or bring back its file."
            )
        p_value = unusual = None
        if len(calibration.scores):
            odd = oddness(scored.features[None], calibration.usual)
            p_value = float(p_values(np.array([scored.score]), calibration.scores)[0])
            unusual = float(p_values(odd, self._oddness)[0])
        regions = []
        if self._peaks is not None:
            regions = find_regions(scored.map, self._peaks.review.score, scored.placement)
        return Prediction(
            file=photograph.file,
            score=scored.score,
            p_value=p_value,
            decision=limits.decide(scored.score) if limits else None,
            map=scored.map,
            regions=regions,
            unusual=unusual,
            clipped=photograph.clipped,
            _placement=scored.placement,
            _scale=self.scale,
            _open=photograph.image,
        )

    @property
    def scale(self) -> tuple[float, float]:
        """The scores of the coldest and the hottest colour, between which the limit is halfway."""
        middle = self.calibration.highest if self._peaks is None else self._peaks.reject.score
        cold = self.calibration.typical
        return cold, max(2 * middle - cold, cold + 1e-12)
