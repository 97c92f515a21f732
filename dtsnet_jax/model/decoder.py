"""The student's decoder: the teacher's stages 4 → 1 mirrored (Deng & Li, CVPR 2022)."""

from flax import nnx
from flax.typing import Dtype
from jaxtyping import Array, Float

from dtsnet_jax.model.backbones import Backbone
from dtsnet_jax.model.encoder import Features
from dtsnet_jax.model.residual import Stage


class Decoder(nnx.Module):
    """Residual stages that double the grid each: stride 32 → 16 → 8 → 4."""

    def __init__(self, backbone: Backbone, *, dtype: Dtype | None = None, rngs: nnx.Rngs):
        channels = (backbone.bottleneck_channels, *reversed(backbone.channels))
        self.stages = nnx.List(
            Stage(
                backbone.block,
                channels_in,
                channels_out,
                depth,
                resampling="up",
                width_factor=backbone.width_factor,
                rectified=backbone.rectified,
                dtype=dtype,
                rngs=rngs,
            )
            for channels_in, channels_out, depth in zip(
                channels[:-1], channels[1:], backbone.decoder_depths, strict=True
            )
        )

    def __call__(self, code: Float[Array, "b h4 w4 c4"]) -> Features:
        """Returns the student's features f_S of levels 1, 2, 3 (strides 4, 8, 16)."""
        level_3 = self.stages[0](code)
        level_2 = self.stages[1](level_3)
        level_1 = self.stages[2](level_2)
        return level_1, level_2, level_3
