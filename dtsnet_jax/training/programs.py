"""What runs on the devices: the network, its optimiser and its jitted programs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from dtsnet_jax.devices.mesh import replicate
from dtsnet_jax.keys import stream
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.training.step import (
    TrainState,
    make_level_step,
    make_teacher_step,
    make_train_step,
    split_network,
)
from dtsnet_jax.weights.teacher import Teacher, encoder_shapes


class Programs:
    """Teacher, student and optimiser, and the jitted functions of their arrays.

    Each function is compiled once, however many students are trained.

    Attributes:
      teacher: with its arrays.
      shapes: of the arrays of teacher and student, the latter's as 'params' and 'batch_stats'.
      train_step, teacher_step, level_step: as in ``dtsnet_jax.training.step``.
    """

    def __init__(
        self,
        teacher: Teacher,
        build_student: Callable[[nnx.Rngs], Student],
        optimizer: optax.GradientTransformation,
        *,
        average_over: float = 0.0,
    ):
        """Builds them; no array is made and nothing is compiled before it is first called.

        Args:
          teacher: with its arrays.
          build_student: makes a student with random weights.
          optimizer: of the student.
          average_over: share of all steps over which the scoring weights are averaged; 0: none.
        """
        self.teacher = teacher
        shapes = nnx.eval_shape(lambda: build_student(nnx.Rngs(0)))
        graphs, _, *student = split_network(teacher.backbone, teacher.encoder, shapes)
        self.shapes = {
            "teacher": encoder_shapes(teacher.encoder),
            "student": dict(zip(("params", "batch_stats"), student, strict=True)),
        }

        def first_state(key: jax.Array) -> TrainState:
            student = build_student(nnx.Rngs(params=key))
            _, _, params, batch_stats = split_network(teacher.backbone, teacher.encoder, student)
            step = jnp.zeros((), jnp.int32)
            average = (params, batch_stats) if average_over else None
            return TrainState(step, params, batch_stats, optimizer.init(params), average)

        self._first_state = jax.jit(first_state)
        self.teacher_step = make_teacher_step(graphs)
        self.train_step = make_train_step(graphs, optimizer, average_over=average_over)
        self.level_step = make_level_step(graphs)

    def initial_state(self, seed: int) -> TrainState:
        """The state before the first step, on every device."""
        return replicate(self._first_state(stream(seed, "parameters")), self.teacher.mesh)

    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and places of a state's arrays, to load one into; nothing is computed."""
        shapes = jax.eval_shape(self._first_state, stream(0, "parameters"))
        everywhere = NamedSharding(self.teacher.mesh, PartitionSpec())
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), shapes
        )
