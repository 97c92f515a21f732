"""Teacher and student, module by module, as nodes of an ONNX graph."""

import numpy as np

from dtsnet_jax.export.graph import Graph, convolve
from dtsnet_jax.model.backbones import Backbone
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.model.efficientnet_lite import (
    LEVEL_BLOCKS,
    EfficientNetLite0Encoder,
    InvertedResidualBlock,
)
from dtsnet_jax.model.encoder import Encoder, ResNetEncoder
from dtsnet_jax.model.fusion import (
    ConvBlock,
    CoordinateAttention,
    MultiscaleFeatureFusion,
    ReverseDistillationBottleneck,
)
from dtsnet_jax.model.residual import BasicBlock, BottleneckBlock, Stage

Levels = tuple[str, str, str]


def add_teacher(graph: Graph, images: str, encoder: Encoder, backbone: Backbone) -> Levels:
    """f_T of RGB bytes.

    Args:
      graph: grows.
      images: the value (batch, height, width, 3) uint8.
      encoder: with its arrays.
      backbone: whose normalisation it expects.
    """
    x = graph.add("Cast", graph.add("Transpose", images, perm=[0, 3, 1, 2]), to=1)  # float32
    mean, std = (
        255 * np.reshape(values, (3, 1, 1)).astype(np.float64)
        for values in (backbone.mean, backbone.std)
    )
    x = graph.add("Div", graph.add("Sub", x, mean), std)
    return (_resnet if isinstance(encoder, ResNetEncoder) else _lite0)(graph, x, encoder)


def add_student(graph: Graph, teacher: Levels, student: Student) -> Levels:
    """f_R, without APR f_S, of the teacher's features.

    Args:
      graph: grows.
      teacher: f_T.
      student: with its arrays.
    """
    bottleneck = student.bottleneck
    fuse = _fuse if isinstance(bottleneck, MultiscaleFeatureFusion) else _concatenate
    x, features = fuse(graph, teacher, bottleneck), []
    for stage in student.decoder.stages:
        x = _stage(graph, x, stage)
        features.append(x)
    features.reverse()
    if student.reconstruction is not None:
        for level, module in enumerate(student.reconstruction.levels):
            inner = _rectified_convolution(graph, features[level], module.conv1)
            features[level] = convolve(graph, inner, module.conv2)
    return tuple(features)


def _rectified_convolution(graph: Graph, x: str, conv, norm=None) -> str:
    return graph.add("Relu", convolve(graph, x, conv, norm))


def _resnet(graph: Graph, x: str, encoder: ResNetEncoder) -> Levels:
    x = _rectified_convolution(graph, x, encoder.conv1, encoder.bn1)
    x = graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    level_1 = _stage(graph, x, encoder.layer1)
    level_2 = _stage(graph, level_1, encoder.layer2)
    return level_1, level_2, _stage(graph, level_2, encoder.layer3)


def _stage(graph: Graph, x: str, stage: Stage) -> str:
    *inner, last = stage.blocks
    for block in inner:
        x = _residual_block(graph, x, block, rectify=True)
    return _residual_block(graph, x, last, rectify=stage.rectified)


def _residual_block(
    graph: Graph, x: str, block: BasicBlock | BottleneckBlock, *, rectify: bool
) -> str:
    shortcut = x
    if block.downsample is not None:
        shortcut = convolve(graph, x, block.downsample.conv, block.downsample.bn)
    x = _rectified_convolution(graph, x, block.conv1, block.bn1)
    last = block.conv2, block.bn2
    if isinstance(block, BottleneckBlock):
        x = _rectified_convolution(graph, x, *last)
        last = block.conv3, block.bn3
    x = graph.add("Add", convolve(graph, x, *last), shortcut)
    return graph.add("Relu", x) if rectify else x


def _lite0(graph: Graph, x: str, encoder: EfficientNetLite0Encoder) -> Levels:
    x = _relu6(graph, convolve(graph, x, encoder._conv_stem, encoder._bn0))
    outputs = []
    for block in encoder._blocks:
        x = _inverted_block(graph, x, block)
        outputs.append(x)
    return tuple(outputs[index] for index in LEVEL_BLOCKS)


def _inverted_block(graph: Graph, inputs: str, block: InvertedResidualBlock) -> str:
    x = inputs
    if block.expands:
        x = _relu6(graph, convolve(graph, x, block._expand_conv, block._bn0))
    x = _relu6(graph, convolve(graph, x, block._depthwise_conv, block._bn1))
    x = convolve(graph, x, block._project_conv, block._bn2)
    return graph.add("Add", x, inputs) if block.has_shortcut else x


def _relu6(graph: Graph, x: str) -> str:
    return graph.add("Clip", x, np.float32(0), np.float32(6))


def _fuse(graph: Graph, teacher: Levels, module: MultiscaleFeatureFusion) -> str:
    level_1, level_2, level_3 = (
        _attend(graph, x, attention) for x, attention in zip(teacher, module.attention, strict=True)
    )
    aligned_1 = _conv_block(graph, _conv_block(graph, level_1, module.align1a), module.align1b)
    aligned_2 = _conv_block(graph, level_2, module.align2)
    both = graph.add("Add", aligned_1, aligned_2)
    x = graph.add("Add", both, _conv_block(graph, level_3, module.align3))
    return _stage(graph, x, module.stage4)


def _concatenate(graph: Graph, teacher: Levels, module: ReverseDistillationBottleneck) -> str:
    level_1, level_2, level_3 = teacher
    aligned_1 = _conv_block(graph, _conv_block(graph, level_1, module.align1a), module.align1b)
    aligned_2 = _conv_block(graph, level_2, module.align2)
    x = graph.add("Concat", aligned_1, aligned_2, level_3, axis=1)
    return _stage(graph, x, module.stage4)


def _conv_block(graph: Graph, x: str, block: ConvBlock) -> str:
    return _rectified_convolution(graph, x, block.conv, block.bn)


def _attend(graph: Graph, x: str, attention: CoordinateAttention) -> str:
    """Without joining rows and columns: the convolution that they share takes each by itself."""
    gates = []
    for axis, conv in ((3, attention.conv_h), (2, attention.conv_w)):
        mean = graph.add("ReduceMean", x, np.array([axis]), keepdims=1)
        inner = graph.add("HardSwish", convolve(graph, mean, attention.conv1, attention.bn1))
        gates.append(graph.add("Sigmoid", convolve(graph, inner, conv)))
    for gate in gates:
        x = graph.add("Mul", x, gate)
    return x
