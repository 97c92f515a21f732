"""Attention-guided perturbation reconstruction, APR (paper, Eqs. 3–7)."""

import jax
import jax.numpy as jnp
from flax import nnx
from flax.typing import Dtype
from jaxtyping import Array, Float

from dtsnet_jax.model.backbones import Backbone
from dtsnet_jax.model.encoder import Features
from dtsnet_jax.model.layers import at_least_float32, torch_uniform


def attention_map(features: Float[Array, "b h w c"], temperature: float) -> Float[Array, "b h w 1"]:
    """Where the teacher looks: G = mean over channels of |f| (Eq. 3), A = H·W·softmax(G/τ) (Eq. 4).

    Args:
      features: the anomalous teacher's features of one level.
      temperature: τ > 0; small values concentrate the attention.

    Returns:
      A map with mean 1 over the pixels of each image, in float32 or wider.
    """
    features = at_least_float32(features)
    batch, height, width, _ = features.shape
    saliency = jnp.abs(features).mean(axis=-1).reshape(batch, height * width)
    attention = height * width * jax.nn.softmax(saliency / temperature, axis=-1)
    return attention.reshape(batch, height, width, 1)


def channel_deviation(features: Float[Array, "b h w c"]) -> Float[Array, "b h w 1"]:
    """ϑ of Eq. 5: the unbiased standard deviation over channels at each pixel.

    The gradient of the square root is kept finite where all channels are equal.
    """
    features = at_least_float32(features)
    variance = features.var(axis=-1, ddof=1, keepdims=True)
    return jnp.sqrt(jnp.maximum(variance, 1e-24))


def perturb(
    features: Float[Array, "b h w c"],
    attention: Float[Array, "b h w 1"],
    noise_scale: float,
    key: jax.Array,
) -> Float[Array, "b h w c"]:
    """Adds noise of deviation σ' = σ·ϑ(f_S)·A (Eqs. 5–6); gradients flow through ϑ.

    Args:
      features: the student's features f_S of one level.
      attention: A of ``attention_map``.
      noise_scale: σ.
      key: PRNG key of this step and level; the draw does not depend on the number of devices.
    """
    deviation = noise_scale * channel_deviation(features) * attention
    noise = jax.random.normal(key, features.shape, deviation.dtype)
    return features + (deviation * noise).astype(features.dtype)


class Reconstruction(nnx.Module):
    """R of Eq. 7 for one level: 3×3 convolution C → 2C, ReLU, 3×3 convolution 2C → C."""

    def __init__(self, channels: int, *, dtype: Dtype | None = None, rngs: nnx.Rngs):
        self.conv1 = _convolution(channels, 2 * channels, dtype=dtype, rngs=rngs)
        self.conv2 = _convolution(2 * channels, channels, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        return self.conv2(jax.nn.relu(self.conv1(x)))


def _convolution(channels_in, channels_out, *, dtype, rngs):
    bound = (9 * channels_in) ** -0.5  # PyTorch's default bias: U(±1/sqrt(fan_in))

    def bias_init(key, shape, dtype=jnp.float32, out_sharding=None):
        del out_sharding
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Conv(
        channels_in,
        channels_out,
        (3, 3),
        padding=((1, 1), (1, 1)),
        kernel_init=torch_uniform,
        bias_init=bias_init,
        dtype=dtype,
        rngs=rngs,
    )


class AttentionGuidedPerturbationReconstruction(nnx.Module):
    """APR on all three levels: perturb the student's features while training, then reconstruct."""

    def __init__(
        self,
        backbone: Backbone,
        *,
        noise_scale: float,
        temperature: float,
        dtype: Dtype | None = None,
        rngs: nnx.Rngs,
    ):
        self.noise_scale, self.temperature = noise_scale, temperature
        self.levels = nnx.List(
            Reconstruction(channels, dtype=dtype, rngs=rngs) for channels in backbone.channels
        )

    def __call__(self, student: Features, teacher: Features, key: jax.Array | None) -> Features:
        """Returns f_R.

        Args:
          student: f_S, the decoder's features.
          teacher: f_T of the image that the student saw, which guides the noise.
          key: PRNG key of the step; ``None`` adds no noise (inference is deterministic).
        """
        reconstructed = []
        for level, reconstruct in enumerate(self.levels):
            features = student[level]
            if key is not None:
                attention = attention_map(teacher[level], self.temperature)
                level_key = jax.random.fold_in(key, level)
                features = perturb(features, attention, self.noise_scale, level_key)
            reconstructed.append(reconstruct(features))
        return tuple(reconstructed)
