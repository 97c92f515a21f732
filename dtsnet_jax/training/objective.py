"""The loss of DTSNet (paper, Eq. 8)."""

from jaxtyping import Array, Float

from dtsnet_jax.model.encoder import Features
from dtsnet_jax.model.layers import cosine_similarity


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
