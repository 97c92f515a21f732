"""EfficientNet-Lite0 up to stride 16: a teacher of 0.2 · 10⁹ multiply-adds, for CPUs.

Architecture: Tan & Le, ICML 2019, in the "lite" form of TensorFlow's model garden (ReLU6, no
squeeze-and-excitation). TensorFlow's own 'SAME' padding and BatchNorm epsilon 1e-3 belong to the
weights. Attribute names follow the PyTorch conversion whose weights we read.
"""

import jax
from flax import nnx
from flax.typing import Dtype
from jaxtyping import Array, Float

from dtsnet_jax.model.layers import DepthwiseConvolution, batch_norm, kaiming_normal

EPSILON = 1e-3
# (blocks, kernel size, stride of the first block, expansion, channels out); stride 32 is not used.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
)
LEVEL_BLOCKS = (2, 4, 10)  # the last blocks at strides 4, 8 and 16


def _same_convolution(channels_in, channels_out, kernel_size, stride, *, dtype, rngs):
    return nnx.Conv(
        channels_in,
        channels_out,
        (kernel_size, kernel_size),
        stride,
        padding="SAME",
        use_bias=False,
        kernel_init=kaiming_normal,
        dtype=dtype,
        rngs=rngs,
    )


class InvertedResidualBlock(nnx.Module):
    """Expand (1×1), filter each channel (k×k), project (1×1); a shortcut where shapes agree."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_size: int,
        stride: int,
        expansion: int,
        *,
        dtype: Dtype | None = None,
        rngs: nnx.Rngs,
    ):
        options = dict(dtype=dtype, rngs=rngs)
        inner = channels_in * expansion
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = _same_convolution(channels_in, inner, 1, 1, **options)
            self._bn0 = batch_norm(inner, epsilon=EPSILON, **options)
        self._depthwise_conv = DepthwiseConvolution(inner, kernel_size, stride, **options)
        self._bn1 = batch_norm(inner, epsilon=EPSILON, **options)
        self._project_conv = _same_convolution(inner, channels_out, 1, 1, **options)
        self._bn2 = batch_norm(channels_out, epsilon=EPSILON, **options)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def __call__(self, inputs: Float[Array, "b h w c_in"]) -> Float[Array, "b h2 w2 c_out"]:
        x = inputs
        if self.expands:
            x = jax.nn.relu6(self._bn0(self._expand_conv(x)))
        x = jax.nn.relu6(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return x + inputs if self.has_shortcut else x


class EfficientNetLite0Encoder(nnx.Module):
    """EfficientNet-Lite0's stem and first 11 blocks."""

    def __init__(self, *, dtype: Dtype | None = None, rngs: nnx.Rngs):
        self._conv_stem = _same_convolution(3, 32, 3, 2, dtype=dtype, rngs=rngs)
        self._bn0 = batch_norm(32, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        blocks = []
        channels_in = 32
        for depth, kernel_size, first_stride, expansion, channels_out in STAGES:
            for index in range(depth):
                stride = first_stride if index == 0 else 1
                blocks.append(
                    InvertedResidualBlock(
                        channels_in,
                        channels_out,
                        kernel_size,
                        stride,
                        expansion,
                        dtype=dtype,
                        rngs=rngs,
                    )
                )
                channels_in = channels_out
        self._blocks = nnx.List(blocks)

    def __call__(
        self, images: Float[Array, "b h w 3"]
    ) -> tuple[Float[Array, "b h1 w1 24"], Float[Array, "b h2 w2 40"], Float[Array, "b h3 w3 112"]]:
        """Returns the features at strides 4, 8 and 16 of normalised images."""
        x = jax.nn.relu6(self._bn0(self._conv_stem(images)))
        outputs = []
        for block in self._blocks:
            x = block(x)
            outputs.append(x)
        level_1, level_2, level_3 = (outputs[index] for index in LEVEL_BLOCKS)
        return level_1, level_2, level_3
