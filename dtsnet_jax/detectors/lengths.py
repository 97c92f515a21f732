"""How long the teacher's vectors usually are, by which the shorter ones are damped."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from dtsnet_jax.devices.mesh import map_batches
from dtsnet_jax.inputs.sample import NormalSample
from dtsnet_jax.model.backbones import Backbone
from dtsnet_jax.model.encoder import encode_images
from dtsnet_jax.weights.teacher import Teacher

_SMALLEST_MEAN = 1e-24  # of a level that answers nothing to any image


def usual_damping(
    teacher: Teacher, sample: NormalSample, *, batch_size: int
) -> Float[np.ndarray, "3"]:
    """The mean over positions of the squared lengths of the teacher's vectors, of each level.

    Args:
      teacher: whose vectors are measured.
      sample: good images; positions count by how much of them is looked at.
      batch_size: images a time.
    """
    graph, _ = nnx.split(teacher.encoder)
    answer = partial(_squares, graph, teacher.backbone, teacher.arrays)
    levels = map_batches(answer, sample.images, batch_size=batch_size, mesh=teacher.mesh)
    means = [_mean_where(squares, sample.valid) for squares in levels]
    return np.maximum(means, _SMALLEST_MEAN).astype(np.float32)


@partial(jax.jit, static_argnums=(0, 1))
def _squares(
    graph: nnx.GraphDef, backbone: Backbone, arrays: nnx.State, images: Array
) -> tuple[Float[Array, "b h w"], ...]:
    features = encode_images(graph, backbone, arrays, images)
    return tuple(jnp.sum(level.astype(jnp.float32) ** 2, axis=-1) for level in features)


def _mean_where(
    squares: Float[np.ndarray, "n h w"], valid: Bool[np.ndarray, "n height width"] | None
) -> float:
    """The mean, weighed by the share of each position's pixels that are looked at."""
    if valid is None or not valid.any():
        return squares.mean(dtype=np.float64)
    count, height, width = squares.shape
    shares = valid.reshape(count, height, valid.shape[1] // height, width, -1).mean(axis=(2, 4))
    return np.average(squares, weights=shares)
