"""The detector that this project is about: a student that is trained against its teacher."""

import math
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from data.pipeline import training_batches
from dtsnet_jax.checkpoints import Checkpoints, newest_step
from dtsnet_jax.errors import UserError
from dtsnet_jax.feature_cache import FeatureCache, cache_fits
from dtsnet_jax.inputs import CategoryImages, TestImages, synthesis_options
from dtsnet_jax.measure import Fitted, measure, score_maps, selection_value
from dtsnet_jax.mesh import data_mesh, map_batches, replicate, split_batch
from dtsnet_jax.model.backbones import get_backbone
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.optimizer import build_optimizer
from dtsnet_jax.progress import Progress, read_records
from dtsnet_jax.scoring import image_score, score_map
from dtsnet_jax.step import (
    TrainState,
    make_level_step,
    make_teacher_step,
    make_train_step,
    split_network,
)
from dtsnet_jax.weights.convert import load_teacher

CALIBRATION_IMAGES = 64


class StudentDetector:
    """Network, devices and compiled steps; each step is compiled once for all categories."""

    def __init__(self, config: ConfigDict):
        """Loads the teacher and builds the student and the jitted steps.

        Raises:
          UserError: the teacher's weights are missing or unusable.
        """
        self._config = config
        self.mesh = data_mesh()
        dtype = jnp.bfloat16 if config.precision == "bfloat16" else None
        self._backbone = get_backbone(config.encoder.name)
        teacher = load_teacher(config.encoder.name, config.encoder.weights, dtype=dtype)
        self._build_student = partial(
            Student,
            config.encoder.name,
            bottleneck=config.student.bottleneck,
            reconstruction=config.student.reconstruction,
            noise_scale=config.student.noise_scale,
            temperature=config.student.temperature,
            dtype=dtype,
        )
        self._optimizer = build_optimizer(
            learning_rate=config.train.learning_rate,
            reconstruction_learning_rate=config.train.reconstruction_learning_rate,
            accumulate=config.train.accumulate,
        )
        network, teacher_arrays, _, _ = split_network(
            self._backbone, teacher, self._build_student(rngs=nnx.Rngs(0))
        )
        self._teacher = replicate(teacher_arrays, self.mesh)
        self._teacher_step = partial(make_teacher_step(network), self._teacher)
        self._train_step = make_train_step(network, self._optimizer)
        self._level_step = make_level_step(network)
        self._score_map = jax.jit(
            partial(
                score_map,
                image_size=config.data.image_size,
                smoothing=config.scoring.smoothing,
                levels=tuple(config.scoring.levels),
            )
        )
        self._teacher_module = teacher

    def initial_state(self, seed: int) -> TrainState:
        """The state before the first step, on every device."""
        student = self._build_student(rngs=nnx.Rngs(params=jax.random.key(seed)))
        _, _, params, batch_stats = split_network(self._backbone, self._teacher_module, student)
        state = TrainState(
            jnp.zeros((), jnp.int32), params, batch_stats, self._optimizer.init(params)
        )
        return replicate(state, self.mesh)

    def fit(self, images: CategoryImages, directory: Path, *, seed: int, epochs: int) -> Fitted:
        """Trains one student, or loads it where it has been trained already.

        Args:
          images: the category's images.
          directory: where checkpoints and records go.
          seed: weights, noise, order and anomalies all follow from it.
          epochs: passes over the training images.
        """
        config = self._config
        batch_size, count = config.train.batch_size, len(images.catalog.train)
        last_step = math.ceil(epochs * count / batch_size)
        trained = newest_step(directory / "checkpoints") >= last_step
        training = None if trained else images.training
        state = self.initial_state(seed)
        checkpoints = Checkpoints(directory / "checkpoints", keep=config.train.keep_checkpoints)
        try:
            state = checkpoints.restore(state) or state
            if training is None:
                print(f"{images.catalog.category}, seed {seed}: trained already")
            else:
                measured_at = {
                    math.ceil(epoch * count / batch_size): epoch
                    for epoch in range(1, epochs + 1)
                    if epoch == epochs or epoch % max(1, config.train.evaluate_every) == 0
                    if config.train.evaluate_every
                }
                batches = training_batches(
                    training,
                    batch_size=batch_size,
                    synthesize_every=config.synthesis.every,
                    options=synthesis_options(config),
                    seed=seed,
                    first_step=int(state.step),
                    last_step=last_step,
                    process_index=jax.process_index(),
                    process_count=jax.process_count(),
                )
                progress = Progress(
                    directory,
                    first_step=int(state.step),
                    last_step=last_step,
                    batch_size=batch_size,
                )
                cache = self._cache(training.normal, images.catalog.category)
                try:
                    state = self._loop(
                        state,
                        batches,
                        cache,
                        images,
                        checkpoints,
                        progress,
                        measured_at,
                        seed,
                        last_step,
                    )
                finally:
                    progress.close()
                checkpoints.save(state)
        finally:
            checkpoints.close()
        return self.load(images, directory)

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
        state = checkpoints.restore(self.initial_state(0))
        checkpoints.close()
        seconds = sum(record.get("seconds", 0.0) for record in read_records(directory))
        return self._fitted(state, images, seconds)

    def _fitted(self, state: TrainState, images: CategoryImages, seconds: float = 0.0) -> Fitted:
        def levels(batch):
            return self._level_step(state.params, state.batch_stats, self._teacher, batch)

        scales = jnp.ones(3)
        if self._config.scoring.calibrate:
            maps = map_batches(
                levels,
                images.normal_sample(CALIBRATION_IMAGES),
                batch_size=self._config.scoring.batch_size,
                mesh=self.mesh,
            )
            scales = jnp.array([level.std() for level in maps])
        return Fitted(
            lambda batch: self._score_map(levels(batch), scales),
            int(state.step),
            seconds,
            self.mesh,
        )

    def _cache(self, images: np.ndarray, category: str) -> FeatureCache | None:
        config = self._config
        if not config.train.cache_teacher:
            return None
        if not cache_fits(self._teacher_step, images, category):
            return None
        return FeatureCache(
            self._teacher_step, images, batch_size=config.scoring.batch_size, mesh=self.mesh
        )

    def _loop(
        self, state, batches, cache, images, checkpoints, progress, measured_at, seed, last_step
    ) -> TrainState:
        """Steps through the batches.

        A step returns before the devices have computed it, so the next batch is sent meanwhile; a
        loss is fetched when the next one is due, which also bounds how far the host runs ahead.
        """
        config, key = self._config.train, jax.random.key(seed)
        step = int(state.step)
        due = None  # the step and loss to be recorded next
        for batch in batches:
            used = ("normal" if cache is None else "index", "synthetic")
            inputs = split_batch({k: v for k, v in batch.items() if k in used}, self.mesh)
            if cache is not None:
                inputs["features"] = cache.take(inputs.pop("index"))
            state, loss = self._train_step(state, self._teacher, inputs, key)
            step += 1
            if step % config.log_every == 0 or step == last_step or step in measured_at:
                if due is not None:
                    progress.record_loss(*due)
                due = (step, loss)
            if step in measured_at:
                progress.record_loss(*due)
                due = None
                self._measure(state, images, progress, step, measured_at[step])
            if step % config.checkpoint_every == 0:
                checkpoints.save(state)
        if due is not None:
            progress.record_loss(*due)
        return state

    def _measure(
        self,
        state: TrainState,
        images: CategoryImages,
        progress: Progress,
        step: int,
        epoch: int,
    ) -> None:
        """Measures on the test images; keeps the weights if these are the best so far."""
        if images.test is None:
            return
        metrics = measure_state(self._config, self._fitted(state, images), images.test)
        earlier = [
            selection_value(record)
            for record in read_records(progress.directory)
            if record.get("epoch", epoch) < epoch
        ]
        progress.record_metrics(step, epoch, metrics)
        if self._config.protocol == "best_on_test" and selection_value(metrics) > max(
            earlier, default=-1.0
        ):
            best = Checkpoints(progress.directory / "best", keep=1)
            best.save(state)
            best.close()


def measure_state(config: ConfigDict, fitted: Fitted, test: TestImages) -> dict[str, float]:
    """The metrics of a detector in the middle of its training."""
    maps = score_maps(fitted, test, batch_size=config.scoring.batch_size)
    return measure(test.labels, np.asarray(image_score(maps)), test.masks, maps)["metrics"]
