"""What training and evaluation share: the network, the devices and the state of one category."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dtsnet_jax.mesh import data_mesh, replicate
from dtsnet_jax.model.backbones import get_backbone
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.optimizer import build_optimizer
from dtsnet_jax.step import TrainState, make_score_step, make_train_step, split_network
from dtsnet_jax.weights.convert import load_teacher


@dataclass(frozen=True)
class Run:
    """Everything that all categories of a run share; each step is compiled once for all of them.

    Attributes:
      mesh: the devices.
      teacher: the teacher's arrays, on every device.
      train_step, score_step: see ``dtsnet_jax.step``.
      initial_state: a function that makes the state before the first step.
    """

    mesh: Mesh
    teacher: Any
    train_step: Any
    score_step: Any
    initial_state: Any


def build_run(config: ConfigDict) -> Run:
    """Loads the teacher, builds the student and the jitted steps.

    Raises:
      UserError: the teacher's weights are missing or unusable.
    """
    mesh = data_mesh()
    dtype = jnp.bfloat16 if config.precision == "bfloat16" else None
    name = config.encoder.name
    teacher = load_teacher(name, config.encoder.weights, dtype=dtype)

    def build_student() -> Student:
        return Student(
            name,
            bottleneck=config.student.bottleneck,
            reconstruction=config.student.reconstruction,
            noise_scale=config.student.noise_scale,
            temperature=config.student.temperature,
            dtype=dtype,
            rngs=nnx.Rngs(params=jax.random.key(config.seed)),
        )

    network, teacher_arrays, params, batch_stats = split_network(
        get_backbone(name), teacher, build_student()
    )
    optimizer = build_optimizer(
        learning_rate=config.train.learning_rate,
        reconstruction_learning_rate=config.train.reconstruction_learning_rate,
        accumulate=config.train.accumulate,
    )

    def initial_state() -> TrainState:
        # Copies, because the training step takes its state's memory over.
        fresh = jax.tree.map(jnp.copy, (params, batch_stats))
        state = TrainState(jnp.zeros((), jnp.int32), *fresh, optimizer.init(params))
        return replicate(state, mesh)

    return Run(
        mesh=mesh,
        teacher=replicate(teacher_arrays, mesh),
        train_step=make_train_step(network, optimizer, seed=config.seed),
        score_step=make_score_step(
            network,
            image_size=config.data.image_size,
            smoothing=config.scoring.smoothing,
            levels=tuple(config.scoring.levels),
        ),
        initial_state=initial_state,
    )


def checkpoint_directory(workdir: Path, category: str) -> Path:
    """Where a category's checkpoints lie."""
    return workdir / category / "checkpoints"
