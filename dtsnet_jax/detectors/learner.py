"""The learner that a configuration asks for."""

from functools import partial

import jax.numpy as jnp
from flax.typing import Dtype
from ml_collections import ConfigDict

from dtsnet_jax.config import image_shape
from dtsnet_jax.detectors.fitted import Learner
from dtsnet_jax.detectors.fused import FusedLearner
from dtsnet_jax.detectors.neighbors import NeighborLearner
from dtsnet_jax.detectors.student import StudentLearner
from dtsnet_jax.evaluation.scoring import ScoringOptions
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.training.optimizer import build_optimizer
from dtsnet_jax.training.programs import Programs
from dtsnet_jax.training.schedule import Schedule
from dtsnet_jax.weights.teacher import Teacher


def build_learner(config: ConfigDict, teacher: Teacher) -> Learner:
    """Builds what learns a category; nothing is compiled before it is used.

    Args:
      config: all fields of ``configs/default.py``, checked.
      teacher: of ``config.encoder``, computing in ``compute_dtype``.
    """
    if config.detector == "student":
        return _student(config, teacher)
    neighbors = NeighborLearner(
        teacher,
        levels=tuple(sorted(config.knn.levels)),
        coreset_size=config.knn.coreset_size,
        batch_size=config.train.batch_size,
        image_shape=image_shape(config),
    )
    if config.detector == "knn":
        return neighbors
    return FusedLearner(_student(config, teacher), neighbors)


def _student(config: ConfigDict, teacher: Teacher) -> StudentLearner:
    return StudentLearner(
        build_programs(config, teacher),
        Schedule(
            batch_size=config.train.batch_size,
            accumulate=config.train.accumulate,
            learning_rate=config.train.learning_rate,
            log_every=config.train.log_every,
            evaluate_every=config.train.evaluate_every,
            checkpoint_minutes=config.train.checkpoint_minutes,
            keep_checkpoints=config.train.keep_checkpoints,
            keep_best=config.protocol == "best_on_test",
            cache_teacher=config.train.cache_teacher and not config.train.augment,
            profile=tuple(config.train.profile),
        ),
        image_shape=image_shape(config),
    )


def build_programs(config: ConfigDict, teacher: Teacher) -> Programs:
    """The network, its optimiser and its jitted programs, see ``build_learner``."""
    build_student = partial(_build_student, config.student.to_dict(), teacher)
    optimizer = build_optimizer(
        learning_rate=config.train.learning_rate,
        reconstruction_learning_rate=config.train.reconstruction_learning_rate,
    )
    return Programs(teacher, build_student, optimizer, average_over=config.train.average_over)


def _build_student(fields: dict, teacher: Teacher, rngs) -> Student:
    return Student(teacher.name, **fields, dtype=teacher.dtype, rngs=rngs)


def compute_dtype(config: ConfigDict) -> Dtype | None:
    """The dtype that activations are computed in; None for that of inputs and weights."""
    return jnp.bfloat16 if config.precision == "bfloat16" else None


def scoring_options(config: ConfigDict) -> ScoringOptions:
    """How features become score maps."""
    return ScoringOptions(
        batch_size=config.scoring.batch_size,
        smoothing=config.scoring.smoothing,
        levels=tuple(config.scoring.levels),
        weigh_by_length=config.scoring.weigh_by_length,
        calibrate=config.scoring.calibrate,
        top_share=config.scoring.top_share,
    )
