"""The backbones that can teach, and the shapes that the student has to mirror."""

from dataclasses import dataclass

from dtsnet_jax.errors import unknown_name
from dtsnet_jax.model.residual import BasicBlock, BottleneckBlock

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Backbone:
    """One architecture. Levels 1, 2, 3 lie at strides 4, 8, 16 of the image.

    Attributes:
      channels: C_1, C_2, C_3, the channels of the three levels.
      bottleneck_channels: channels after the fourth residual stage, at stride 32.
      block: the residual block of teacher (ResNets only), fourth stage and decoder.
      teacher_depths: residual blocks in the teacher's stages 1, 2, 3; empty for EfficientNet-Lite0,
        whose teacher is no ResNet.
      bottleneck_depth: residual blocks in the fourth stage.
      decoder_depths: residual blocks of the decoder at strides 16, 8, 4, in this order.
      width_factor: inner width of bottleneck blocks, times C/4.
      rectified: whether the teacher's levels end in a ReLU; the student's do so accordingly.
      mean, std: what the weights expect to be subtracted from and divided into RGB in [0, 1].
    """

    channels: tuple[int, int, int]
    bottleneck_channels: int
    block: type[BasicBlock] | type[BottleneckBlock]
    teacher_depths: tuple[int, ...]
    bottleneck_depth: int
    decoder_depths: tuple[int, int, int]
    width_factor: int = 1
    rectified: bool = True
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


BACKBONES = {
    "resnet18": Backbone((64, 128, 256), 512, BasicBlock, (2, 2, 2), 2, (2, 2, 2)),
    "resnet34": Backbone((64, 128, 256), 512, BasicBlock, (3, 4, 6), 3, (3, 4, 6)),
    "resnet50": Backbone((256, 512, 1024), 2048, BottleneckBlock, (3, 4, 6), 3, (3, 4, 6)),
    "wide_resnet50_2": Backbone(
        (256, 512, 1024), 2048, BottleneckBlock, (3, 4, 6), 3, (3, 4, 6), width_factor=2
    ),
    # The student of this small teacher is our choice: ResNet18's shape with the teacher's channels.
    # Its levels are projections without activation, half of their values below zero, which a
    # student ending in a ReLU could not give back.
    "efficientnet_lite0": Backbone(
        (24, 40, 112),
        320,
        BasicBlock,
        (),
        2,
        (2, 2, 2),
        rectified=False,
        mean=(0.498, 0.498, 0.498),
        std=(0.502, 0.502, 0.502),
    ),
}


def get_backbone(name: str) -> Backbone:
    """Returns the backbone of this name.

    Raises:
      UserError: no backbone is called so; the message lists the nearest names.
    """
    if name not in BACKBONES:
        raise unknown_name("encoder.name", name, BACKBONES)
    return BACKBONES[name]
