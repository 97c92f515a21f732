"""What a configuration says about pixels and synthesis, as the options of ``data``."""

from ml_collections import ConfigDict

from data.options import PixelOptions, SynthesisOptions
from dtsnet_jax.config import image_shape


def pixel_options(config: ConfigDict, *, bit_depth: int) -> PixelOptions:
    """How photographs become arrays.

    Args:
      config: all fields of ``configs/default.py``, checked.
      bit_depth: of the training images.
    """
    return PixelOptions(
        size=image_shape(config),
        fit=config.data.fit,
        antialias=config.data.antialias,
        bit_depth=bit_depth,
        tile_size=config.data.tile_size,
        tile_overlap=config.data.tile_overlap,
        max_megapixels=config.data.max_megapixels,
    )


def synthesis_options(config: ConfigDict) -> SynthesisOptions:
    """How anomalies are drawn."""
    return SynthesisOptions(
        masks=tuple(config.synthesis.masks),
        opacity=tuple(config.synthesis.opacity),
        opacity_of=config.synthesis.opacity_of,
    )
