"""What this project is about: a student that is trained against its teacher."""

from collections.abc import Callable
from functools import cache, partial

import jax
import numpy as np

from dtsnet_jax.detectors.fitted import Answer, Fitted, Parts
from dtsnet_jax.detectors.lengths import usual_damping
from dtsnet_jax.devices.mesh import map_batches, replicate
from dtsnet_jax.devices.processes import from_first
from dtsnet_jax.errors import UserError
from dtsnet_jax.evaluation.scoring import LevelMaps, ScoringOptions, jitted_score_map
from dtsnet_jax.inputs.category import CategoryImages
from dtsnet_jax.inputs.sample import SAMPLE
from dtsnet_jax.seed_run import ADVICE, SeedRun, newest_step
from dtsnet_jax.training.programs import Programs
from dtsnet_jax.training.schedule import Length, Schedule
from dtsnet_jax.training.step import PyTree, TrainState


class StudentLearner:
    """Trains and loads students, as ``dtsnet_jax.detectors.fitted.Learner`` says."""

    def __init__(self, programs: Programs, schedule: Schedule, *, image_shape: tuple[int, int]):
        self.programs, self._schedule, self._image_shape = programs, schedule, image_shape

    def last_step(self, images: int, length: Length) -> int:
        """The step that ends the training."""
        return self._schedule.epoch_ends(images, length)[-1]

    def fit(
        self,
        images: CategoryImages,
        run: SeedRun,
        *,
        length: Length,
        scoring: ScoringOptions,
        as_measured: Callable[[Fitted], Fitted] = lambda student: student,
    ) -> None:
        """Trains one student; ``as_measured`` makes of it what is measured during training."""
        from dtsnet_jax.evaluation.measure import measure  # scoring starts faster without these
        from dtsnet_jax.training.loop import train

        damping = cache(partial(self._damping, images, scoring))

        def measure_state(state: TrainState) -> dict[str, float]:
            scored = as_measured(self.fitted(state.scoring, images, scoring, damping()))
            test = images.test
            scores = test.score(scored.score_maps, scoring)
            return measure(test.labels, test.masks, scores, judged=test.judged)["metrics"]

        count = images.training_count
        epoch_ends = self._schedule.epoch_ends(count, length)
        visits = epoch_ends[-1] * self._schedule.images_a_step
        if visits < count:
            print(
                f"{images.catalog.category}: {visits:,} image visits show {visits:,} of {count:,} "
                "images or tiles; --config.train.visits=N shows more"
            )
        train(
            self.programs,
            images,
            run,
            self._schedule,
            epoch_ends=epoch_ends,
            measure=measure_state if images.catalog.test else None,
        )

    def load(self, images: CategoryImages, run: SeedRun, scoring: ScoringOptions) -> Fitted:
        """Loads the weights that the protocol names."""
        from dtsnet_jax.training.checkpoints import GO_ON, load_weights
        from dtsnet_jax.training.records import read_records

        trained_to = run.trained_step or 0  # before the weights, which may move on meanwhile
        chosen = self._schedule.keep_best and images.catalog.test
        directory = run.best if chosen else run.checkpoints
        step = from_first(lambda: newest_step(directory)) if chosen else trained_to
        if not step:
            raise UserError(
                f"'{directory}' holds no complete checkpoint; train it first with --job=train and "
                "the same --workdir."
            )
        advice = ADVICE if chosen else GO_ON  # no training makes the best state again
        like = self.programs.abstract_state()
        try:
            weights = load_weights(directory, step, like, advice=advice)
        except UserError:
            if from_first(lambda: newest_step(directory)) == step:
                raise
        else:
            seconds = sum(record.get("seconds", 0.0) for record in read_records(run.directory))
            damping = self._damping(images, scoring)
            about = {"step": step, "trained_to": trained_to, "seconds": seconds}
            return self.fitted(weights, images, scoring, damping, **about)
        return self.load(images, run, scoring)  # a training beside us has replaced it

    def fitted(
        self,
        weights: tuple[PyTree, PyTree],
        images: CategoryImages,
        scoring: ScoringOptions,
        damping: np.ndarray | None,
        **about: float,
    ) -> Fitted:
        """What weights make, with its levels on one scale if so asked.

        Args:
          weights: parameters and batch statistics.
          images: of which the training images set the scales.
          scoring: how features become score maps.
          damping: (3,) float32, by which distances are weighed; None does not, as in Eq. 9.
          about: attributes of ``Fitted``; what is left out is 0.
        """
        programs = self.programs
        mesh, scales = programs.teacher.mesh, np.ones(3, np.float32)
        student = dict(zip(("params", "batch_stats"), weights, strict=True))
        parts = {"teacher": programs.teacher.arrays, "student": student}
        if damping is not None:
            parts["damping"] = replicate(damping, mesh)
        if scoring.calibrate:
            levels = partial(self._levels, parts)
            sample = images.normal_sample(SAMPLE).images
            maps, _ = map_batches(levels, sample, batch_size=scoring.batch_size, mesh=mesh)
            scales = np.array([level.std() for level in maps], np.float32)
        parts["scales"] = replicate(scales, mesh)
        answer = partial(self.answer, parts, scoring=scoring)
        return Fitted(
            parts, answer, mesh=mesh, **{"step": 0, "trained_to": 0, "seconds": 0.0} | about
        )

    def parts_like(self, scoring: ScoringOptions) -> Parts:
        """As ``Learner.parts_like``."""
        names = ("scales", "damping") if scoring.weigh_by_length else ("scales",)
        return self.programs.shapes | dict.fromkeys(names, jax.ShapeDtypeStruct((3,), np.float32))

    def answer(self, parts: Parts, images: jax.Array, scoring: ScoringOptions) -> Answer:
        """As ``Learner.answer``."""
        levels, features = self._levels(parts, images)
        score_map = jitted_score_map(self._image_shape, scoring.smoothing, scoring.levels)
        return Answer(score_map(levels, parts["scales"]), features)

    def _damping(self, images: CategoryImages, scoring: ScoringOptions) -> np.ndarray | None:
        if not scoring.weigh_by_length:
            return None
        sample, teacher = images.normal_sample(SAMPLE), self.programs.teacher
        return usual_damping(teacher, sample, batch_size=scoring.batch_size)

    def _levels(self, parts: Parts, images: jax.Array) -> tuple[LevelMaps, jax.Array]:
        """The maps of the levels and the teacher's mean features, see ``Programs.level_step``."""
        student, damping = parts["student"], parts.get("damping")
        weights = student["params"], student["batch_stats"]
        return self.programs.level_step(*weights, parts["teacher"], images, damping)
