"""How long the teacher's vectors usually are, by which the shorter ones are damped."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from dtsnet_jax.devices.mesh import map_batches
from dtsnet_jax.model.encoder import normalize_images
from dtsnet_jax.weights.teacher import Teacher


def usual_damping(
    teacher: Teacher, images: UInt8[np.ndarray, "n height width 3"], *, batch_size: int
) -> Float[np.ndarray, "3"]:
    """The mean over positions of the squared lengths of the teacher's vectors, of each level.

    Args:
      teacher: whose vectors are measured.
      images: good ones.
      batch_size: images a time.
    """
    graph, _ = nnx.split(teacher.encoder)

    @jax.jit
    def mean_squares(arrays, images) -> Float[Array, "b 3"]:
        features = nnx.merge(graph, arrays)(normalize_images(images, teacher.backbone))
        squares = [jnp.sum(level.astype(jnp.float32) ** 2, axis=-1) for level in features]
        return jnp.stack([jnp.mean(one, axis=(1, 2)) for one in squares], axis=-1)

    answer = partial(mean_squares, teacher.arrays)
    means = map_batches(answer, images, batch_size=batch_size, mesh=teacher.mesh)
    return means.mean(axis=0, dtype=np.float64).astype(np.float32)
