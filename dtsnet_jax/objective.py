"""The loss of DTSNet (paper, Eq. 8)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dtsnet_jax.model.encoder import Features
from dtsnet_jax.model.layers import at_least_float32

_SMALLEST_SQUARED_NORM = 1e-24


def cosine_similarity(a: Float[Array, "... n"], b: Float[Array, "... n"]) -> Float[Array, "..."]:
    """Cosine of the angle between vectors along the last axis; 0 where either one is zero.

    Computed in float32 or wider; its gradient is finite everywhere, zero vectors included.
    """
    a, b = at_least_float32(a), at_least_float32(b)
    return (a * b).sum(-1) * _inverse_norm(a) * _inverse_norm(b)


def _inverse_norm(x: Array) -> Array:
    return jax.lax.rsqrt(jnp.maximum((x * x).sum(-1), _SMALLEST_SQUARED_NORM))


def distillation_loss(teacher_normal: Features, reconstructed: Features) -> Float[Array, ""]:
    """Eq. 8: Σ over levels of 1 − cos(f_T,n, f_R), averaged over the batch.

    The cosine is taken per sample between whole levels flattened to one vector of H_k·W_k·C_k
    numbers, not per position.

    Args:
      teacher_normal: f_T,n, the teacher's features of the normal images.
      reconstructed: f_R, the student's answer to the images that may have been synthesised.
    """
    losses = [
        1.0 - cosine_similarity(a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1))
        for a, b in zip(teacher_normal, reconstructed, strict=True)
    ]
    return sum(loss.mean() for loss in losses)
