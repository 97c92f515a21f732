"""An ONNX graph that grows node by node, and the layers that all networks here are made of.

Values are (batch, channels, height, width); BatchNorm, which only scales and shifts at inference,
is part of the convolution before it.
"""

import numpy as np
import onnx
from flax import nnx
from onnx import TensorProto, helper, numpy_helper

from dtsnet_jax.model.layers import DepthwiseConvolution, TransposedConvolution

OPSET, IR_VERSION = 18, 8  # read by ONNX Runtime from 1.14 on, and by OpenVINO from 2023 on
Convolution = nnx.Conv | DepthwiseConvolution | TransposedConvolution


class Graph:
    """Nodes and constants so far; a value is known by its name."""

    def __init__(self):
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(
        self, operator: str, *inputs: str | np.ndarray | np.generic, outputs: int = 1, **attributes
    ) -> str:
        """Adds a node.

        Args:
          operator: as ONNX calls it.
          inputs: values, or arrays, which become constants; float64 is stored as float32.
          outputs: how many the operator has.
          attributes: of the operator.

        Returns:
          The name of the first output.
        """
        output = f"{operator}_{len(self._nodes)}"
        made = [output, *(f"{output}_unused_{place}" for place in range(1, outputs))]
        names = [
            value if isinstance(value, str) else self._constant(value, f"{output}_{place}")
            for place, value in enumerate(inputs)
        ]
        self._nodes.append(helper.make_node(operator, names, made, output, **attributes))
        return output

    def _constant(self, value: np.ndarray | np.generic, name: str) -> str:
        dtype = np.float32 if value.dtype.kind == "f" else value.dtype
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype, order="C"), name))
        return name

    def model(
        self, image_shape: tuple[int, int], outputs: dict[str, tuple[str, tuple[int | str, ...]]]
    ) -> onnx.ModelProto:
        """The model, with the single input 'images' (batch, height, width, 3) uint8.

        Args:
          image_shape: height and width.
          outputs: of every output that is float32 the value and the shape.
        """
        for name, (value, _) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [name], name))
        given = helper.make_tensor_value_info(
            "images", TensorProto.UINT8, ("batch", *image_shape, 3)
        )
        made = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, (_, shape) in outputs.items()
        ]
        graph = helper.make_graph(self._nodes, "detector", [given], made, self._constants)
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


def convolve(graph: Graph, x: str, conv: Convolution, norm: nnx.BatchNorm | None = None) -> str:
    """A convolution of any of the kinds, with the BatchNorm that follows it."""
    if isinstance(conv, TransposedConvolution):
        kernel = np.asarray(conv.conv.kernel[...])
        channels_in, channels_out = kernel.shape[2], kernel.shape[3] // 4
        kernel, bias = _folded(kernel.reshape(channels_in, 2, 2, channels_out), 0.0, norm)
        kernel = kernel.transpose(0, 3, 1, 2)
        return graph.add("ConvTranspose", x, kernel, bias, strides=[2, 2])
    if isinstance(conv, DepthwiseConvolution):
        kernel, bias = _folded(np.asarray(conv.kernel[...]), 0.0, norm)
        kernel, strides = kernel.transpose(2, 0, 1)[:, None], (conv.stride, conv.stride)
        padding = {"auto_pad": "SAME_UPPER", "group": len(kernel)}
    else:
        bias = 0.0 if conv.bias is None else _float64(conv.bias)
        kernel, bias = _folded(np.asarray(conv.kernel[...]), bias, norm)
        kernel, strides = kernel.transpose(3, 2, 0, 1), np.broadcast_to(conv.strides, 2).tolist()
        padding = {"auto_pad": "SAME_UPPER"}
        if conv.padding != "SAME":
            (top, bottom), (left, right) = conv.padding
            padding = {"pads": [top, left, bottom, right]}
    return graph.add("Conv", x, kernel, bias, strides=strides, **padding)


def _folded(
    kernel: np.ndarray, bias: np.ndarray | float, norm: nnx.BatchNorm | None
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel, whose last axis are the channels out, and bias of a convolution and its BatchNorm."""
    if norm is None:
        return kernel, np.broadcast_to(bias, kernel.shape[-1:])
    factor = _float64(norm.scale) / np.sqrt(_float64(norm.var) + norm.epsilon)
    return kernel * factor.astype(np.float32), _float64(norm.bias) + (
        bias - _float64(norm.mean)
    ) * factor


def _float64(variable: nnx.Variable) -> np.ndarray:
    return np.asarray(variable[...], np.float64)
