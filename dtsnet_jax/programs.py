"""What runs on the devices: a configuration's network and its jitted programs."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from flax.typing import Dtype
from ml_collections import ConfigDict

from dtsnet_jax.mesh import data_mesh, replicate
from dtsnet_jax.model.backbones import get_backbone
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.model.encoder import Encoder
from dtsnet_jax.optimizer import build_optimizer
from dtsnet_jax.scoring import score_map
from dtsnet_jax.step import (
    TrainState,
    make_level_step,
    make_teacher_step,
    make_train_step,
    split_network,
)


class Programs:
    """Teacher, student and optimiser, and the jitted functions of their arrays.

    Each function is compiled once, however many students are trained.

    Attributes:
      mesh: the devices.
      teacher: the teacher's arrays, on every device.
      train_step, teacher_step, level_step: as in ``dtsnet_jax.step``.
      score_map: (level maps, level scales) to score maps, as in ``dtsnet_jax.scoring``.
    """

    def __init__(self, config: ConfigDict, teacher: Encoder):
        """Builds them; nothing is compiled before it is first called.

        Args:
          config: all fields of ``configs/default.py``, checked.
          teacher: of ``config.encoder.name``, with its weights, computing in ``compute_dtype``.
        """
        self.mesh = data_mesh()
        self._backbone, self._teacher = get_backbone(config.encoder.name), teacher
        self._build_student = partial(
            Student,
            config.encoder.name,
            bottleneck=config.student.bottleneck,
            reconstruction=config.student.reconstruction,
            noise_scale=config.student.noise_scale,
            temperature=config.student.temperature,
            dtype=compute_dtype(config),
        )
        self._optimizer = build_optimizer(
            learning_rate=config.train.learning_rate,
            reconstruction_learning_rate=config.train.reconstruction_learning_rate,
            accumulate=config.train.accumulate,
        )
        network, teacher_arrays, _, _ = self._split(seed=0)
        self.teacher = replicate(teacher_arrays, self.mesh)
        self.teacher_step = make_teacher_step(network)
        self.train_step = make_train_step(network, self._optimizer)
        self.level_step = make_level_step(network)
        self.score_map = jax.jit(
            partial(
                score_map,
                image_size=config.data.image_size,
                smoothing=config.scoring.smoothing,
                levels=tuple(config.scoring.levels),
            )
        )

    def initial_state(self, seed: int) -> TrainState:
        """The state before the first step, on every device."""
        _, _, params, batch_stats = self._split(seed)
        step = jnp.zeros((), jnp.int32)
        state = TrainState(step, params, batch_stats, self._optimizer.init(params))
        return replicate(state, self.mesh)

    def _split(self, seed: int):
        student = self._build_student(rngs=nnx.Rngs(params=jax.random.key(seed)))
        return split_network(self._backbone, self._teacher, student)


def compute_dtype(config: ConfigDict) -> Dtype | None:
    """The dtype that activations are computed in; None for that of inputs and weights."""
    return jnp.bfloat16 if config.precision == "bfloat16" else None
