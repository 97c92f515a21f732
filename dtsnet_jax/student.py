"""The detector that this project is about: a student that is trained against its teacher."""

import math
from contextlib import closing
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from data.pipeline import training_batches
from dtsnet_jax.checkpoints import Checkpoints, newest_step
from dtsnet_jax.errors import UserError
from dtsnet_jax.feature_cache import FeatureCache, cache_fits
from dtsnet_jax.inputs import CategoryImages, TestImages, synthesis_options
from dtsnet_jax.measure import Fitted, measure, score_maps, selection_value
from dtsnet_jax.mesh import map_batches, split_batch
from dtsnet_jax.programs import Programs, compute_dtype
from dtsnet_jax.progress import Progress, read_records
from dtsnet_jax.scoring import image_score
from dtsnet_jax.step import TrainState
from dtsnet_jax.weights.convert import load_teacher

CALIBRATION_IMAGES = 64


class StudentDetector:
    """Trains, keeps and loads students; the compiled programs serve all of them."""

    def __init__(self, config: ConfigDict):
        """Loads the teacher.

        Raises:
          UserError: the teacher's weights are missing or unusable.
        """
        self._config = config
        teacher = load_teacher(
            config.encoder.name, config.encoder.weights, dtype=compute_dtype(config)
        )
        self.programs = Programs(config, teacher)

    def fit(self, images: CategoryImages, directory: Path, *, seed: int, epochs: int) -> Fitted:
        """Trains one student, or loads it where it has been trained already.

        Args:
          images: the category's images.
          directory: where checkpoints and records go.
          seed: weights, noise, order and anomalies all follow from it.
          epochs: passes over the training images.
        """
        batch_size, count = self._config.train.batch_size, len(images.catalog.train)
        epoch_ends = [math.ceil(epoch * count / batch_size) for epoch in range(1, epochs + 1)]
        if newest_step(directory / "checkpoints") < epoch_ends[-1]:
            self._train(images, directory, seed, epoch_ends)
        else:
            print(f"{images.catalog.category}, seed {seed}: trained already")
        return self.load(images, directory)

    def _train(
        self, images: CategoryImages, directory: Path, seed: int, epoch_ends: list[int]
    ) -> None:
        """Trains from the newest checkpoint on, or from the beginning.

        A step returns before the devices have computed it, so the next batch is sent meanwhile.

        Args:
          images, directory, seed: as for ``fit``.
          epoch_ends: the step that ends each epoch.
        """
        config, programs, key = self._config.train, self.programs, jax.random.key(seed)
        training = images.training  # before all else: unusable files leave nothing behind
        checkpoints = Checkpoints(directory / "checkpoints", keep=config.keep_checkpoints)
        with closing(checkpoints):
            state = programs.initial_state(seed)
            state = checkpoints.restore(state) or state
            first, last = int(state.step), epoch_ends[-1]
            batches = training_batches(
                training,
                batch_size=config.batch_size,
                synthesize_every=self._config.synthesis.every,
                options=synthesis_options(self._config),
                seed=seed,
                first_step=first,
                last_step=last,
                process_index=jax.process_index(),
                process_count=jax.process_count(),
            )
            cache = self._cache(training.normal, images.catalog.category)
            measured = self._measured_steps(epoch_ends)
            progress = Progress(
                directory, first_step=first, last_step=last, batch_size=config.batch_size
            )
            with closing(progress):
                for step, batch in enumerate(batches, start=first + 1):
                    inputs = self._inputs(batch, cache)
                    state, loss = programs.train_step(state, programs.teacher, inputs, key)
                    if step % config.log_every == 0 or step == last or step in measured:
                        progress.record_loss(step, loss)
                    if step in measured:
                        self._measure(state, images, progress, measured[step])
                    if step % config.checkpoint_every == 0 or step == last:
                        checkpoints.save(state)

    def _measured_steps(self, epoch_ends: list[int]) -> dict[int, int]:
        """The steps after which the test images are measured, and the epochs that they end."""
        every, last = self._config.train.evaluate_every, len(epoch_ends)
        if not every:
            return {}
        return {
            step: epoch
            for epoch, step in enumerate(epoch_ends, start=1)
            if epoch == last or epoch % every == 0
        }

    def _cache(self, images: np.ndarray, category: str) -> FeatureCache | None:
        config, programs = self._config, self.programs
        teacher = partial(programs.teacher_step, programs.teacher)
        if not config.train.cache_teacher or not cache_fits(teacher, images, category):
            return None
        return FeatureCache(
            teacher, images, batch_size=config.scoring.batch_size, mesh=programs.mesh
        )

    def _inputs(self, batch: dict[str, np.ndarray], cache: FeatureCache | None) -> dict:
        """Sends what the step uses of a batch to the devices."""
        used = ("normal" if cache is None else "index", "synthetic")
        inputs = split_batch({k: v for k, v in batch.items() if k in used}, self.programs.mesh)
        if cache is not None:
            inputs["features"] = cache.take(inputs.pop("index"))
        return inputs

    def load(self, images: CategoryImages, directory: Path) -> Fitted:
        """Loads the weights that the protocol names.

        Raises:
          UserError: there are none.
        """
        chosen = self._config.protocol == "best_on_test" and images.catalog.test
        name = "best" if chosen else "checkpoints"
        if not newest_step(directory / name):
            raise UserError(
                f"'{directory / name}' holds no complete checkpoint; train it first with "
                "--job=train and the same --workdir."
            )
        checkpoints = Checkpoints(directory / name, keep=self._config.train.keep_checkpoints)
        with closing(checkpoints):
            state = checkpoints.restore(self.programs.initial_state(0))
        seconds = sum(record.get("seconds", 0.0) for record in read_records(directory))
        return self.fitted(state, images, seconds)

    def fitted(self, state: TrainState, images: CategoryImages, seconds: float = 0.0) -> Fitted:
        """The detector that a state makes, with its levels on one scale if so configured.

        Args:
          state: of training.
          images: of which the training images set the scales.
          seconds: what training took.
        """
        programs, scoring = self.programs, self._config.scoring

        def levels(batch):
            return programs.level_step(state.params, state.batch_stats, programs.teacher, batch)

        scales = jnp.ones(3)
        if scoring.calibrate:
            sample = images.normal_sample(CALIBRATION_IMAGES)
            maps = map_batches(levels, sample, batch_size=scoring.batch_size, mesh=programs.mesh)
            scales = jnp.array([level.std() for level in maps])
        return Fitted(
            lambda batch: programs.score_map(levels(batch), scales),
            int(state.step),
            seconds,
            programs.mesh,
        )

    def _measure(
        self, state: TrainState, images: CategoryImages, progress: Progress, epoch: int
    ) -> None:
        """Measures on the test images; keeps the weights if these are the best so far."""
        if images.test is None:
            return
        progress.fetch_due()  # what follows is not training's time
        metrics = measure_state(self._config, self.fitted(state, images), images.test)
        earlier = [
            selection_value(record)
            for record in read_records(progress.directory)
            if record.get("epoch", epoch) < epoch
        ]
        progress.record_metrics(int(state.step), epoch, metrics)
        if self._config.protocol == "best_on_test" and selection_value(metrics) > max(
            earlier, default=-1.0
        ):
            with closing(Checkpoints(progress.directory / "best", keep=1)) as best:
                best.save(state)


def measure_state(config: ConfigDict, fitted: Fitted, test: TestImages) -> dict[str, float]:
    """The metrics of a detector in the middle of its training."""
    maps = score_maps(fitted, test, batch_size=config.scoring.batch_size)
    return measure(test.labels, np.asarray(image_score(maps)), test.masks, maps)["metrics"]
