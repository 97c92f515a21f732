"""The residual blocks that teacher, bottleneck and decoder are made of (He et al., CVPR 2016).

Attribute names follow torchvision, so that its weights convert name by name. A block either keeps
the resolution, halves it (stride 2) or doubles it: in the decoder a 2×2 transposed convolution of
stride 2 takes the place of the strided convolution and of the shortcut.
"""

from typing import Literal

import jax
from flax import nnx
from flax.typing import Dtype
from jaxtyping import Array, Float

from dtsnet_jax.model.layers import TransposedConvolution, batch_norm, convolution

Resampling = Literal["none", "down", "up"]


def _resampling_convolution(channels_in, channels_out, kernel_size, resampling, *, dtype, rngs):
    if resampling == "up":
        return TransposedConvolution(channels_in, channels_out, dtype=dtype, rngs=rngs)
    stride = 2 if resampling == "down" else 1
    return convolution(channels_in, channels_out, kernel_size, stride, dtype=dtype, rngs=rngs)


class Shortcut(nnx.Module):
    """The projection of a residual block whose input and output differ in shape."""

    def __init__(self, channels_in, channels_out, resampling: Resampling, *, dtype, rngs: nnx.Rngs):
        self.conv = _resampling_convolution(
            channels_in, channels_out, 1, resampling, dtype=dtype, rngs=rngs
        )
        self.bn = batch_norm(channels_out, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.bn(self.conv(x))


class BasicBlock(nnx.Module):
    """Two 3×3 convolutions (ResNet18 and ResNet34)."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        resampling: Resampling = "none",
        width_factor: int = 1,
        dtype: Dtype | None = None,
        rngs: nnx.Rngs,
    ):
        del width_factor  # only bottleneck blocks have an inner width of their own
        options = dict(dtype=dtype, rngs=rngs)
        self.conv1 = _resampling_convolution(channels_in, channels_out, 3, resampling, **options)
        self.bn1 = batch_norm(channels_out, **options)
        self.conv2 = convolution(channels_out, channels_out, 3, **options)
        self.bn2 = batch_norm(channels_out, **options)
        changes_shape = resampling != "none" or channels_in != channels_out
        self.downsample = (
            Shortcut(channels_in, channels_out, resampling, **options) if changes_shape else None
        )

    def __call__(
        self, x: Float[Array, "b h w c_in"], *, rectify: bool = True
    ) -> Float[Array, "b h2 w2 c_out"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = jax.nn.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x = x + shortcut
        return jax.nn.relu(x) if rectify else x


class BottleneckBlock(nnx.Module):
    """1×1, 3×3, 1×1 with an inner width of C/4 times ``width_factor`` (2 in WideResNet50-2)."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        resampling: Resampling = "none",
        width_factor: int = 1,
        dtype: Dtype | None = None,
        rngs: nnx.Rngs,
    ):
        options = dict(dtype=dtype, rngs=rngs)
        width = channels_out // 4 * width_factor
        self.conv1 = convolution(channels_in, width, 1, **options)
        self.bn1 = batch_norm(width, **options)
        self.conv2 = _resampling_convolution(width, width, 3, resampling, **options)
        self.bn2 = batch_norm(width, **options)
        self.conv3 = convolution(width, channels_out, 1, **options)
        self.bn3 = batch_norm(channels_out, **options)
        changes_shape = resampling != "none" or channels_in != channels_out
        self.downsample = (
            Shortcut(channels_in, channels_out, resampling, **options) if changes_shape else None
        )

    def __call__(
        self, x: Float[Array, "b h w c_in"], *, rectify: bool = True
    ) -> Float[Array, "b h2 w2 c_out"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = jax.nn.relu(self.bn1(self.conv1(x)))
        x = jax.nn.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x = x + shortcut
        return jax.nn.relu(x) if rectify else x


class Stage(nnx.Module):
    """Residual blocks in a row; the first one changes resolution and channels.

    ``rectified``: whether the last one ends in a ReLU, as in a ResNet.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[BottleneckBlock],
        channels_in: int,
        channels_out: int,
        depth: int,
        *,
        resampling: Resampling,
        width_factor: int = 1,
        rectified: bool = True,
        dtype: Dtype | None = None,
        rngs: nnx.Rngs,
    ):
        self.rectified = rectified
        self.blocks = nnx.List(
            block(
                channels_in if index == 0 else channels_out,
                channels_out,
                resampling=resampling if index == 0 else "none",
                width_factor=width_factor,
                dtype=dtype,
                rngs=rngs,
            )
            for index in range(depth)
        )

    def __call__(self, x: Float[Array, "b h w c_in"]) -> Float[Array, "b h2 w2 c_out"]:
        *inner, last = self.blocks
        for block in inner:
            x = block(x)
        return last(x, rectify=self.rectified)
