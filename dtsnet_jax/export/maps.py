"""Score maps, and what is made of them, as nodes of an ONNX graph."""

import numpy as np

from dtsnet_jax.evaluation.scoring import interpolation_matrix, smoothing_matrix
from dtsnet_jax.export.graph import Graph
from dtsnet_jax.export.network import Levels
from dtsnet_jax.prediction.drift import Usual

_SMALLEST_SQUARED_NORM = 1e-24  # as in the functions that these nodes repeat


def add_level_map(graph: Graph, teacher: str, reconstructed: str) -> str:
    """As ``dtsnet_jax.evaluation.scoring.level_map``, (batch, 1, h, w)."""
    units = [_divide_by_norm(graph, features) for features in (teacher, reconstructed)]
    cosine = _sum_channels(graph, graph.add("Mul", *units))
    return graph.add("Sub", np.float32(1), cosine)


def add_weighed(graph: Graph, level_map: str, teacher: str, damping: float) -> str:
    """A map times ``dtsnet_jax.evaluation.scoring.damped_squares``, (batch, 1, h, w)."""
    squares = _squares(graph, teacher)
    weights = graph.add("Div", squares, graph.add("Add", squares, np.float32(damping)))
    return graph.add("Mul", level_map, weights)


def add_distances(
    graph: Graph,
    teacher: Levels,
    bank: np.ndarray,
    damping: np.ndarray,
    levels: tuple[int, ...],
    grid: tuple[int, int],
) -> str:
    """As ``dtsnet_jax.detectors.neighbors.nearest_distance`` of ``patch_vectors``.

    Args:
      graph: grows.
      teacher: f_T.
      bank: (m, d) float32.
      damping: (3,) float32.
      levels: whose vectors are joined, the finest first.
      grid: height and width of the finest of them.

    Returns:
      The value (batch, 1, height, width).
    """
    parts = []
    for level in levels:
        squares = graph.add("Add", _squares(graph, teacher[level - 1]), damping[level - 1])
        vectors = graph.add("Div", teacher[level - 1], graph.add("Sqrt", squares))
        pooled = graph.add(
            "AveragePool", vectors, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=0
        )
        factor = 2 ** (level - levels[0])
        if factor > 1:
            scales = np.array([1, 1, factor, factor], np.float32)
            pooled = graph.add("Resize", pooled, "", scales, mode="linear")
        parts.append(pooled)
    # Positions first: minima over the last axis are found many times faster.
    joined = graph.add("Transpose", graph.add("Concat", *parts, axis=1), perm=[0, 2, 3, 1])
    vectors = graph.add("Reshape", joined, np.array([-1, bank.shape[1]]))
    squares = np.square(bank, dtype=np.float64).sum(axis=1)
    products = graph.add("Gemm", vectors, -2.0 * bank.T, squares)
    nearest = graph.add("ReduceMin", products, np.array([1]), keepdims=1)
    nearest = graph.add("Add", nearest, _squares(graph, vectors))
    distances = graph.add("Sqrt", graph.add("Relu", nearest))
    return graph.add("Reshape", distances, np.array([-1, 1, *grid]))


def add_upsampled(
    graph: Graph,
    level_map: str,
    grid: tuple[int, int],
    size: tuple[int, int],
    *,
    smoothing: float,
    unit: float,
) -> str:
    """As ``dtsnet_jax.evaluation.scoring.upsample``, of a map divided by its unit.

    Args:
      graph: grows.
      level_map: (batch, 1, *grid).
      grid: its height and width.
      size: those of the result.
      smoothing: σ of the Gaussian in pixels of the result; 0 turns it off.
      unit: what the map is divided by.
    """
    rows, columns = (
        smoothing_matrix(side, smoothing) @ interpolation_matrix(side_in, side)
        for side_in, side in zip(grid, size, strict=True)
    )
    return graph.add("MatMul", graph.add("MatMul", rows / unit, level_map), columns.T)


def add_image_scores(graph: Graph, maps: str, size: tuple[int, int], top_share: float) -> str:
    """As ``dtsnet_jax.evaluation.scoring.mean_of_largest`` of whole maps (batch, height, width)."""
    pixels = graph.add("Reshape", maps, np.array([0, -1]))
    count = max(1, round(top_share * size[0] * size[1]))
    if count == 1:
        return graph.add("ReduceMax", pixels, np.array([1]), keepdims=0)
    largest = graph.add("TopK", pixels, np.array([count]), outputs=2)
    return graph.add("ReduceMean", largest, np.array([1]), keepdims=0)


def add_features(graph: Graph, teacher: Levels, usual: Usual) -> str:
    """The teacher's mean features, turned so that how odd they are is the mean of their squares.

    What ``dtsnet_jax.prediction.drift.oddness`` needs to know thereby lies in the model. As there,
    of a photograph in tiles the mean is taken first.

    Args:
      graph: grows.
      teacher: f_T.
      usual: what features are in training images.
    """
    means = [graph.add("ReduceMean", level, np.array([2, 3]), keepdims=0) for level in teacher]
    centred = graph.add("Sub", graph.add("Concat", *means, axis=1), usual.mean)
    return graph.add("MatMul", centred, _factor(usual.precision))


def _factor(precision: np.ndarray) -> np.ndarray:
    """F with F·Fᵀ = precision, which rounding to float32 may have left not quite definite."""
    scale = np.sqrt(np.diag(precision).astype(np.float64))
    scale = np.where(scale > 0, scale, 1.0)  # a channel that never varies weighs nothing
    unit = precision / np.outer(scale, scale)
    rounding = 2.0**-24 * np.abs(unit).sum(axis=1).max()
    return scale[:, None] * np.linalg.cholesky(unit + rounding * np.eye(len(unit)))


def _divide_by_norm(graph: Graph, features: str) -> str:
    floor = np.float32(_SMALLEST_SQUARED_NORM)
    length = graph.add("Sqrt", graph.add("Max", _squares(graph, features), floor))
    return graph.add("Div", features, length)


def _squares(graph: Graph, features: str) -> str:
    return _sum_channels(graph, graph.add("Mul", features, features))


def _sum_channels(graph: Graph, x: str) -> str:
    return graph.add("ReduceSum", x, np.array([1]), keepdims=1)
