"""The pure core: one training step and one scoring step, as functions of their arguments."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, UInt8

from dtsnet_jax.evaluation.scoring import LevelMaps, damped_squares, level_map
from dtsnet_jax.model.backbones import Backbone
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.model.encoder import Encoder, Features, encode_images, mean_features
from dtsnet_jax.training.objective import distillation_loss

PyTree = Any
Batch = dict[str, UInt8[Array, "_ h w 3"] | Features]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["step", "params", "batch_stats", "optimizer_state", "average"],
    meta_fields=[],
)
@dataclass(frozen=True)
class TrainState:
    """All that training changes; what a checkpoint holds.

    Attributes:
      step: int32 scalar, number of updates made.
      params: the student's weights.
      batch_stats: the student's running means and variances.
      optimizer_state: the moments of Adam.
      average: params and batch_stats averaged over the last steps, or None where they are not.
    """

    step: PyTree
    params: PyTree
    batch_stats: PyTree
    optimizer_state: PyTree
    average: tuple[PyTree, PyTree] | None = None

    @property
    def scoring(self) -> tuple[PyTree, PyTree]:
        """The parameters and batch statistics that score: the averages where there are any."""
        return self.average or (self.params, self.batch_stats)


class StepMetrics(NamedTuple):
    """What a step tells of itself; where loss and gradient are finite, so is the state after it.

    Norms are Euclidean, of all weights together.

    Attributes:
      loss: Eq. 8, the mean over the step's batches.
      gradient_norm: of the averaged gradient.
      update_norm: of what was added to the weights.
      parameter_norm: of the weights after it.
      smallest_variance, largest_variance: of the running variances of BatchNorm after it.
    """

    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    update_norm: Float[Array, ""]
    parameter_norm: Float[Array, ""]
    smallest_variance: Float[Array, ""]
    largest_variance: Float[Array, ""]


@dataclass(frozen=True)
class Graphs:
    """The static halves of teacher and student, to be merged with their arrays inside a step.

    Attributes:
      backbone: shapes and normalisation of the teacher.
      teacher: graph of the frozen encoder.
      student_training, student_inference: graphs of the student with batch and running statistics.
    """

    backbone: Backbone
    teacher: nnx.GraphDef
    student_training: nnx.GraphDef
    student_inference: nnx.GraphDef


def split_network(
    backbone: Backbone, teacher: Encoder, student: Student
) -> tuple[Graphs, PyTree, PyTree, PyTree]:
    """Separates modules into graphs and plain trees of arrays.

    Returns:
      The graphs, the teacher's arrays, the student's parameters and its batch statistics.
    """
    teacher_graph, teacher_arrays = nnx.split(teacher)
    training = nnx.view(student, use_running_average=False)
    inference = nnx.view(student, use_running_average=True)
    training_graph, params, batch_stats = nnx.split(training, nnx.Param, nnx.BatchStat)
    inference_graph, _, _ = nnx.split(inference, nnx.Param, nnx.BatchStat)
    graphs = Graphs(backbone, teacher_graph, training_graph, inference_graph)
    return graphs, *nnx.as_pure((teacher_arrays, params, batch_stats))


def teacher_features(graphs: Graphs, arrays: PyTree, images: UInt8[Array, "b h w 3"]) -> Features:
    """f_T of RGB bytes."""
    return encode_images(graphs.teacher, graphs.backbone, arrays, images)


def anomalous_features(graphs: Graphs, teacher: PyTree, batch: Batch, normal: Features) -> Features:
    """f_T,a: the teacher's features of the images that the student sees.

    Samples come in groups of which the last one was synthesised, so the teacher runs over those
    only and the others' features are taken from ``normal``.

    Args:
      batch: 'synthetic' (b / group, h, w, 3), or absent where nothing is synthesised.
      normal: f_T,n of the batch's 'normal' images (b, h, w, 3).
    """
    if "synthetic" not in batch:
        return normal
    synthetic = teacher_features(graphs, teacher, batch["synthetic"])

    def replace_last_of_group(all_normal: Array, last: Array) -> Array:
        groups = all_normal.reshape(last.shape[0], -1, *all_normal.shape[1:])
        groups = jnp.concatenate([groups[:, :-1], last[:, None]], axis=1)
        return groups.reshape(all_normal.shape)

    return tuple(map(replace_last_of_group, normal, synthetic))


def make_train_step(
    graphs: Graphs, optimizer: optax.GradientTransformation, *, average_over: float = 0.0
) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """Returns the jitted ``train_step(state, teacher, batches, key) -> (state, metrics)``.

    One step averages the gradients of several batches, one after the other, and makes one update;
    BatchNorm sees each batch by itself.

    ``batches`` holds 'normal', uint8 images, or 'features', the teacher's features of them, and
    'synthetic' as for ``anomalous_features``, all with the number of the batch as first axis.
    ``state`` is donated: use the returned one. ``key`` is the run's key of the noise, the same for
    every step; the noise of APR is drawn from fold_in(key, number of the batch since the start), so
    it depends neither on the devices nor on earlier steps. ``average_over`` is the share of all
    steps so far over which ``state.average`` reaches, where there is one.
    """

    def loss_of(params, batch_stats, teacher: PyTree, batch: Batch, key: Array):
        normal = batch.get("features")
        if normal is None:
            normal = teacher_features(graphs, teacher, batch["normal"])
        anomalous = anomalous_features(graphs, teacher, batch, normal)
        student = nnx.merge(graphs.student_training, params, batch_stats)
        loss = distillation_loss(normal, student(anomalous, key))
        return loss, nnx.as_pure(nnx.state(student, nnx.BatchStat))

    def train_step(state: TrainState, teacher: PyTree, batches: dict[str, PyTree], key: Array):
        count = len(jax.tree.leaves(batches)[0])
        value_and_gradient = jax.value_and_grad(loss_of, has_aux=True)
        batch_stats, loss = state.batch_stats, 0.0
        gradients = jax.tree.map(jnp.zeros_like, state.params)
        # No lax.scan: inside its body XLA computes convolutions on a CPU 25 times more slowly.
        for index in range(count):
            batch = jax.tree.map(itemgetter(index), batches)
            batch_key = jax.random.fold_in(key, state.step * count + index)
            (batch_loss, batch_stats), batch_gradients = value_and_gradient(
                state.params, batch_stats, teacher, batch, batch_key
            )
            gradients = jax.tree.map(jnp.add, gradients, batch_gradients)
            loss += batch_loss
        gradients, loss = jax.tree.map(lambda x: x / count, (gradients, loss))
        updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, state.params)
        params = optax.apply_updates(state.params, updates)
        norms = map(optax.tree.norm, (gradients, updates, params))
        metrics = StepMetrics(loss, *norms, *_extreme_variances(batch_stats))
        average = state.average
        if average is not None:
            newest = 1.0 / (1.0 + average_over * state.step.astype(loss.dtype))
            average = optax.incremental_update((params, batch_stats), average, newest)
        step = state.step + 1
        return TrainState(step, params, batch_stats, optimizer_state, average), metrics

    return jax.jit(train_step, donate_argnums=0)


def _extreme_variances(batch_stats: PyTree) -> tuple[Array, Array]:
    """The smallest and the largest of the running variances."""
    leaves = jax.tree_util.tree_leaves_with_path(batch_stats)
    variances = jnp.concatenate([leaf for path, leaf in leaves if path[-1].key == "var"])
    return variances.min(), variances.max()


def make_teacher_step(graphs: Graphs) -> Callable[[PyTree, Array], Features]:
    """Returns the jitted ``teacher_step(teacher, images) -> f_T``."""
    return jax.jit(partial(teacher_features, graphs))


def make_level_step(graphs: Graphs) -> Callable[..., tuple[LevelMaps, Float[Array, "b c"]]]:
    """Returns the jitted ``level_step(params, batch_stats, teacher, images) -> (maps, means)``.

    ``maps`` are M^1, M^2, M^3, ``means`` what ``mean_features`` makes of the teacher's. No noise is
    added and BatchNorm uses running statistics: the same image always gets the same maps, whatever
    else is in the batch. Of ``damping``, three numbers, ``level_step`` makes weights of the maps,
    see ``damped_squares``; without it maps are those of Eq. 9.
    """

    def level_step(
        params: PyTree,
        batch_stats: PyTree,
        teacher: PyTree,
        images: Array,
        damping: Float[Array, "3"] | None = None,
    ):
        features = teacher_features(graphs, teacher, images)
        student = nnx.merge(graphs.student_inference, params, batch_stats)
        maps = tuple(map(level_map, features, student(features)))
        if damping is not None:
            maps = tuple(map(jnp.multiply, maps, map(damped_squares, features, damping)))
        return maps, mean_features(features)

    return jax.jit(level_step)
