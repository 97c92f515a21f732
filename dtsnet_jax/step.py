"""The pure core: one training step and one scoring step, as functions of their arguments."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, UInt8

from dtsnet_jax.model.backbones import Backbone
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.model.encoder import Encoder, Features, normalize_images
from dtsnet_jax.objective import distillation_loss
from dtsnet_jax.scoring import LevelMaps, level_map

PyTree = Any


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["step", "params", "batch_stats", "optimizer"],
    meta_fields=[],
)
@dataclass(frozen=True)
class TrainState:
    """All that training changes; what a checkpoint holds.

    Attributes:
      step: int32 scalar, number of batches seen.
      params: the student's weights.
      batch_stats: the student's running means and variances.
      optimizer: the state of the optimiser.
    """

    step: Array
    params: PyTree
    batch_stats: PyTree
    optimizer: PyTree


@dataclass(frozen=True)
class Network:
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
) -> tuple[Network, PyTree, PyTree, PyTree]:
    """Separates modules into graphs and plain trees of arrays.

    Returns:
      The network, the teacher's arrays, the student's parameters and its batch statistics.
    """
    teacher_graph, teacher_arrays = nnx.split(teacher)
    training = nnx.view(student, use_running_average=False)
    inference = nnx.view(student, use_running_average=True)
    training_graph, params, batch_stats = nnx.split(training, nnx.Param, nnx.BatchStat)
    inference_graph, _, _ = nnx.split(inference, nnx.Param, nnx.BatchStat)
    network = Network(backbone, teacher_graph, training_graph, inference_graph)
    return network, *nnx.as_pure((teacher_arrays, params, batch_stats))


def teacher_features(network: Network, arrays: PyTree, images: UInt8[Array, "b h w 3"]) -> Features:
    """f_T of RGB bytes."""
    teacher = nnx.merge(network.teacher, arrays)
    return teacher(normalize_images(images, network.backbone))


def anomalous_features(
    network: Network, teacher: PyTree, batch: dict[str, Array], normal: Features
) -> Features:
    """f_T,a: the teacher's features of the images that the student sees.

    Samples come in groups of which the last one was synthesised, so the teacher runs over those
    only and the others' features are taken from ``normal``.

    Args:
      batch: 'synthetic' (b / group, h, w, 3), or absent where nothing is synthesised.
      normal: f_T,n of the batch's 'normal' images (b, h, w, 3).
    """
    if "synthetic" not in batch:
        return normal
    synthetic = teacher_features(network, teacher, batch["synthetic"])

    def replace_last_of_group(all_normal: Array, last: Array) -> Array:
        groups = all_normal.reshape(last.shape[0], -1, *all_normal.shape[1:])
        groups = jnp.concatenate([groups[:, :-1], last[:, None]], axis=1)
        return groups.reshape(all_normal.shape)

    return tuple(map(replace_last_of_group, normal, synthetic))


def make_train_step(
    network: Network, optimizer: optax.GradientTransformation
) -> Callable[..., tuple[TrainState, Float[Array, ""]]]:
    """Returns the jitted ``train_step(state, teacher, batch, key) -> (state, loss)``.

    ``batch`` holds 'normal', uint8 images, or 'features', the teacher's features of them, and
    'synthetic' as for ``anomalous_features``.
    ``state`` is donated: use the returned one. ``key`` is the run's PRNG key, the same for every
    step; the noise of APR is drawn from fold_in(key, step), so it depends neither on the devices
    nor on earlier steps.
    """

    def train_step(state: TrainState, teacher: PyTree, batch: dict[str, Array], key: Array):
        normal = batch.get("features")
        if normal is None:
            normal = teacher_features(network, teacher, batch["normal"])
        anomalous = anomalous_features(network, teacher, batch, normal)
        step_key = jax.random.fold_in(key, state.step)

        def loss_of(params):
            student = nnx.merge(network.student_training, params, state.batch_stats)
            reconstructed = student(anomalous, step_key)
            loss = distillation_loss(normal, reconstructed)
            return loss, nnx.as_pure(nnx.state(student, nnx.BatchStat))

        (loss, batch_stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, batch_stats, optimizer_state), loss

    return jax.jit(train_step, donate_argnums=0)


def make_teacher_step(network: Network) -> Callable[[PyTree, Array], Features]:
    """Returns the jitted ``teacher_step(teacher, images) -> f_T``."""
    return jax.jit(partial(teacher_features, network))


def make_level_step(network: Network) -> Callable[..., LevelMaps]:
    """Returns the jitted ``level_step(params, batch_stats, teacher, images) -> M^1, M^2, M^3``.

    No noise is added and BatchNorm uses running statistics: the same image always gets the same
    maps, whatever else is in the batch.
    """

    def level_step(params: PyTree, batch_stats: PyTree, teacher: PyTree, images: Array):
        features = teacher_features(network, teacher, images)
        student = nnx.merge(network.student_inference, params, batch_stats)
        return tuple(map(level_map, features, student(features)))

    return jax.jit(level_step)
