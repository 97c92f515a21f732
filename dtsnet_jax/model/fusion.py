"""From three levels of features to one compact code: MFF (paper) or the plain RD bottleneck."""

import jax
import jax.numpy as jnp
from flax import nnx
from flax.typing import Dtype
from jaxtyping import Array, Float

from dtsnet_jax.model.backbones import Backbone
from dtsnet_jax.model.encoder import Features
from dtsnet_jax.model.layers import batch_norm, convolution
from dtsnet_jax.model.residual import Stage


class CoordinateAttention(nnx.Module):
    """Coordinate attention (Hou, Zhou & Feng, CVPR 2021): one gate per row, one per column."""

    def __init__(self, channels: int, *, dtype: Dtype | None = None, rngs: nnx.Rngs):
        options = dict(dtype=dtype, rngs=rngs)
        inner = max(8, channels // 32)
        self.conv1 = convolution(channels, inner, 1, use_bias=True, **options)
        self.bn1 = batch_norm(inner, **options)
        self.conv_h = convolution(inner, channels, 1, use_bias=True, **options)
        self.conv_w = convolution(inner, channels, 1, use_bias=True, **options)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        height = x.shape[1]
        rows = x.mean(axis=2, keepdims=True)  # b h 1 c
        columns = x.mean(axis=1, keepdims=True).swapaxes(1, 2)  # b w 1 c
        both = jnp.concatenate([rows, columns], axis=1)
        both = jax.nn.hard_swish(self.bn1(self.conv1(both)))
        rows, columns = both[:, :height], both[:, height:].swapaxes(1, 2)
        return x * jax.nn.sigmoid(self.conv_h(rows)) * jax.nn.sigmoid(self.conv_w(columns))


class ConvBlock(nnx.Module):
    """3×3 convolution, BatchNorm, ReLU."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        stride: int,
        *,
        dtype: Dtype | None = None,
        rngs: nnx.Rngs,
    ):
        self.conv = convolution(channels_in, channels_out, 3, stride, dtype=dtype, rngs=rngs)
        self.bn = batch_norm(channels_out, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c_in"]) -> Float[Array, "b h2 w2 c_out"]:
        return jax.nn.relu(self.bn(self.conv(x)))


class MultiscaleFeatureFusion(nnx.Module):
    """MFF (paper): attention on each level, alignment to level 3's grid, sum, fourth stage.

    How the levels are aligned is not stated in the paper; here level 1 takes two 3×3 convolutions
    of stride 2, level 2 one, and level 3 one of stride 1, each with BatchNorm and ReLU.
    """

    def __init__(self, backbone: Backbone, *, dtype: Dtype | None = None, rngs: nnx.Rngs):
        options = dict(dtype=dtype, rngs=rngs)
        c1, c2, c3 = backbone.channels
        self.attention = nnx.List(CoordinateAttention(c, **options) for c in backbone.channels)
        self.align1a = ConvBlock(c1, c2, 2, **options)
        self.align1b = ConvBlock(c2, c3, 2, **options)
        self.align2 = ConvBlock(c2, c3, 2, **options)
        self.align3 = ConvBlock(c3, c3, 1, **options)
        self.stage4 = fourth_stage(backbone, c3, **options)

    def __call__(self, features: Features) -> Float[Array, "b h4 w4 c4"]:
        level_1, level_2, level_3 = (
            attend(f) for attend, f in zip(self.attention, features, strict=True)
        )
        aligned_1 = self.align1b(self.align1a(level_1))
        return self.stage4(aligned_1 + self.align2(level_2) + self.align3(level_3))


class ReverseDistillationBottleneck(nnx.Module):
    """The plain bottleneck (Deng & Li, CVPR 2022): aligned levels concatenated, fourth stage."""

    def __init__(self, backbone: Backbone, *, dtype: Dtype | None = None, rngs: nnx.Rngs):
        options = dict(dtype=dtype, rngs=rngs)
        c1, c2, c3 = backbone.channels
        self.align1a = ConvBlock(c1, c2, 2, **options)
        self.align1b = ConvBlock(c2, c3, 2, **options)
        self.align2 = ConvBlock(c2, c3, 2, **options)
        self.stage4 = fourth_stage(backbone, 3 * c3, **options)

    def __call__(self, features: Features) -> Float[Array, "b h4 w4 c4"]:
        level_1, level_2, level_3 = features
        aligned_1 = self.align1b(self.align1a(level_1))
        levels = [aligned_1, self.align2(level_2), level_3]
        return self.stage4(jnp.concatenate(levels, axis=-1))


def fourth_stage(
    backbone: Backbone, channels_in: int, *, dtype: Dtype | None, rngs: nnx.Rngs
) -> Stage:
    """The backbone's fourth residual stage: halves the grid of level 3 and widens it to C_4."""
    return Stage(
        backbone.block,
        channels_in,
        backbone.bottleneck_channels,
        backbone.bottleneck_depth,
        resampling="down",
        width_factor=backbone.width_factor,
        dtype=dtype,
        rngs=rngs,
    )
