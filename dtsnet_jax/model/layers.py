"""Layers with PyTorch's conventions of padding, statistics and initialisation, in NHWC."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from flax.typing import Dtype
from jaxtyping import Array, Float

# Kaiming normal, fan-out, ReLU: the bottleneck and the decoder.
kaiming_normal = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
# PyTorch's default for convolutions, U(±1/sqrt(fan_in)): the APR convolutions.
torch_uniform = nnx.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")
# The same default for a transposed convolution, whose "fan in" PyTorch counts over output channels.
torch_uniform_transposed = nnx.initializers.variance_scaling(1.0 / 3.0, "fan_out", "uniform")

_SMALLEST_SQUARED_NORM = 1e-24


def at_least_float32(x: Array) -> Array:
    """Promotes half precision to float32 and leaves float32 and float64 as they are."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def cosine_similarity(a: Float[Array, "... n"], b: Float[Array, "... n"]) -> Float[Array, "..."]:
    """Cosine of the angle between vectors along the last axis; 0 where either one is zero.

    Computed in float32 or wider; its gradient is finite everywhere, zero vectors included.
    """
    return optax.losses.cosine_similarity(
        at_least_float32(a), at_least_float32(b), epsilon=_SMALLEST_SQUARED_NORM
    )


def convolution(
    channels_in: int,
    channels_out: int,
    kernel_size: int,
    stride: int = 1,
    *,
    use_bias: bool = False,
    kernel_init: nnx.Initializer = kaiming_normal,
    dtype: Dtype | None = None,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """A square convolution with PyTorch's symmetric padding ``kernel_size // 2``.

    'SAME' is no substitute: with stride 2 it pads bottom and right only.
    """
    pad = kernel_size // 2
    return nnx.Conv(
        channels_in,
        channels_out,
        (kernel_size, kernel_size),
        stride,
        padding=((pad, pad), (pad, pad)),
        use_bias=use_bias,
        kernel_init=kernel_init,
        dtype=dtype,
        rngs=rngs,
    )


def batch_norm(
    channels: int, *, epsilon: float = 1e-5, dtype: Dtype | None = None, rngs: nnx.Rngs
) -> nnx.BatchNorm:
    """Batch normalisation with PyTorch's momentum 0.1 (0.9 as Flax counts it).

    The variance is the two-pass one: the one-pass formula loses all digits where the mean is large
    and the spread small.
    """
    return nnx.BatchNorm(
        channels,
        momentum=0.9,
        epsilon=epsilon,
        use_fast_variance=False,
        dtype=dtype,
        rngs=rngs,
    )


class TransposedConvolution(nnx.Module):
    """2×2 transposed convolution with stride 2 and no bias.

    Its windows do not overlap, so it equals a 1×1 convolution to 4·C channels followed by a
    rearrangement of depth to space, which XLA runs several times faster on CPUs.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, dtype: Dtype | None = None, rngs: nnx.Rngs
    ):
        self.conv = convolution(
            channels_in,
            4 * channels_out,
            1,
            kernel_init=torch_uniform_transposed,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(self, x: Float[Array, "b h w c_in"]) -> Float[Array, "b 2*h 2*w c_out"]:
        batch, height, width, _ = x.shape
        x = self.conv(x).reshape(batch, height, width, 2, 2, -1)
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, -1)


class DepthwiseConvolution(nnx.Module):
    """Depthwise convolution with TensorFlow's 'SAME' padding, as a sum of shifted products.

    XLA fuses the sum into one loop; its own depthwise convolution is 6 to 30 times slower on CPUs.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        stride: int = 1,
        *,
        dtype: Dtype | None = None,
        rngs: nnx.Rngs,
    ):
        shape = (kernel_size, kernel_size, channels)
        self.kernel = nnx.Param(kaiming_normal(rngs.params(), shape))
        self.kernel_size, self.stride, self.dtype = kernel_size, stride, dtype

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        x, kernel = nnx.nn.dtypes.promote_dtype((x, self.kernel[...]), dtype=self.dtype)
        window = (self.kernel_size, self.kernel_size)
        strides = (self.stride, self.stride)
        pads = jax.lax.padtype_to_pads(x.shape[1:3], window, strides, "SAME")
        height, width = (-(-size // self.stride) for size in x.shape[1:3])
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        rows = (height - 1) * self.stride + 1
        columns = (width - 1) * self.stride + 1
        return sum(
            x[:, i : i + rows : self.stride, j : j + columns : self.stride] * kernel[i, j]
            for i in range(self.kernel_size)
            for j in range(self.kernel_size)
        )
