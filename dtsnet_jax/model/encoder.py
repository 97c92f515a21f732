"""The teacher: the first three stages of a torchvision ResNet, frozen (method: T, levels 1–3)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.typing import Dtype
from jaxtyping import Array, Float, UInt8

from dtsnet_jax.model.backbones import Backbone, get_backbone
from dtsnet_jax.model.efficientnet_lite import EfficientNetLite0Encoder
from dtsnet_jax.model.layers import batch_norm, convolution
from dtsnet_jax.model.residual import Stage

Features = tuple[Float[Array, "b h1 w1 c1"], Float[Array, "b h2 w2 c2"], Float[Array, "b h3 w3 c3"]]


class ResNetEncoder(nnx.Module):
    """ResNet18/34/50 or WideResNet50-2 up to its third stage; names as in torchvision."""

    def __init__(self, backbone: Backbone, *, dtype: Dtype | None = None, rngs: nnx.Rngs):
        self.conv1 = convolution(3, 64, 7, 2, dtype=dtype, rngs=rngs)
        self.bn1 = batch_norm(64, dtype=dtype, rngs=rngs)
        stages = []
        channels_in = 64
        for level, (channels, depth) in enumerate(
            zip(backbone.channels, backbone.teacher_depths, strict=True), start=1
        ):
            stages.append(
                Stage(
                    backbone.block,
                    channels_in,
                    channels,
                    depth,
                    resampling="none" if level == 1 else "down",
                    width_factor=backbone.width_factor,
                    dtype=dtype,
                    rngs=rngs,
                )
            )
            channels_in = channels
        self.layer1, self.layer2, self.layer3 = stages

    def __call__(self, images: Float[Array, "b h w 3"]) -> Features:
        """Returns the features at strides 4, 8 and 16 of normalised images."""
        x = jax.nn.relu(self.bn1(self.conv1(images)))
        x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        level_1 = self.layer1(x)
        level_2 = self.layer2(level_1)
        level_3 = self.layer3(level_2)
        return level_1, level_2, level_3


Encoder = ResNetEncoder | EfficientNetLite0Encoder


def build_encoder(name: str, *, dtype: Dtype | None = None, rngs: nnx.Rngs) -> Encoder:
    """Builds the encoder of a backbone with random weights, in inference mode.

    Args:
      name: a key of ``BACKBONES``.
      dtype: compute dtype; ``None`` computes in the dtype of inputs and weights.
      rngs: where the random weights come from; they are replaced by ImageNet's.

    Raises:
      UserError: no backbone is called ``name``.
    """
    backbone = get_backbone(name)
    if name == "efficientnet_lite0":
        encoder = EfficientNetLite0Encoder(dtype=dtype, rngs=rngs)
    else:
        encoder = ResNetEncoder(backbone, dtype=dtype, rngs=rngs)
    return nnx.view(encoder, use_running_average=True)


def mean_features(features: Features) -> Float[Array, "b c"]:
    """The mean of every channel over all positions, of all levels in a row, in float32."""
    means = [jnp.mean(level, axis=(1, 2), dtype=jnp.float32) for level in features]
    return jnp.concatenate(means, axis=-1)


def normalize_images(
    images: UInt8[Array, "b h w 3"], backbone: Backbone
) -> Float[Array, "b h w 3"]:
    """Scales RGB bytes to [0, 1] and to the mean and spread that the backbone was trained with."""
    scaled = images.astype(float) / 255.0  # float32 unless JAX is told to use float64
    return (scaled - jnp.array(backbone.mean)) / jnp.array(backbone.std)


def encode_images(
    graph: nnx.GraphDef, backbone: Backbone, arrays: Any, images: UInt8[Array, "b h w 3"]
) -> Features:
    """f_T of RGB bytes, by an encoder that was split into its graph and its arrays."""
    return nnx.merge(graph, arrays)(normalize_images(images, backbone))
