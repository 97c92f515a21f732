"""The ONNX model of a detector: from RGB bytes to score maps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from flax import nnx
from ml_collections import ConfigDict

from dtsnet_jax.config import image_shape
from dtsnet_jax.detectors.ensemble import MEMBERS
from dtsnet_jax.detectors.fitted import Parts
from dtsnet_jax.detectors.learner import scoring_options
from dtsnet_jax.export.graph import Graph
from dtsnet_jax.export.maps import (
    add_distances,
    add_features,
    add_image_scores,
    add_level_map,
    add_upsampled,
    add_weighed,
)
from dtsnet_jax.export.network import Levels, add_student, add_teacher
from dtsnet_jax.model.backbones import get_backbone
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.model.encoder import build_encoder
from dtsnet_jax.prediction.saved import SavedDetector

STRIDES = {1: 4, 2: 8, 3: 16}  # of the levels


def build_model(saved: SavedDetector) -> onnx.ModelProto:
    """Builds the model, which computes in float32.

    Its input is 'images', (batch, height, width, 3) uint8 RGB of the size that the network sees.
    Its outputs are float32:
      maps: (batch, height, width), as ``Answer.maps``.
      features: (batch, channels), ``Answer.features`` as ``add_features`` turns them.
      scores: (batch,), of images that are whole photographs; absent where these have tiles,
        margins or a region of interest, on which their scores depend, too.

    Args:
      saved: the detector.
    """
    config = saved.config
    name, size = config.encoder.name, image_shape(config)
    encoder = _filled(lambda: build_encoder(name, rngs=nnx.Rngs(0)), saved.parts["teacher"])
    graph = Graph()
    teacher = add_teacher(graph, "images", encoder, get_backbone(name))
    maps = graph.add("Reshape", _add_maps(graph, teacher, saved), np.array([0, *size]))
    features = add_features(graph, teacher, saved.calibration.usual)
    outputs = {
        "maps": (maps, ("batch", *size)),
        "features": (features, ("batch", len(saved.calibration.usual.mean))),
    }
    if config.data.fit != "pad" and not config.data.tile_size and not config.data.region:
        scores = add_image_scores(graph, maps, size, config.scoring.top_share)
        outputs["scores"] = (scores, ("batch",))
    return graph.model(size, outputs)


def _add_maps(graph: Graph, teacher: Levels, saved: SavedDetector) -> str:
    """The sum of all maps, of several members their mean, (batch, 1, height, width)."""
    members = saved.parts.get(MEMBERS, {0: saved.parts}).values()
    maps = [one for parts in members for one in _member_maps(graph, teacher, saved.config, parts)]
    total, *others = maps
    for one in others:
        total = graph.add("Add", total, one)
    return graph.add("Div", total, np.float32(len(members))) if len(members) > 1 else total


def _member_maps(graph: Graph, teacher: Levels, config: ConfigDict, parts: Parts) -> list[str]:
    """The maps of the student's levels and of the neighbours, each divided by its unit."""
    scoring, size = scoring_options(config), image_shape(config)
    units = np.asarray(parts.get("units", (1.0, 1.0)), np.float64)
    grids = {level: (size[0] // stride, size[1] // stride) for level, stride in STRIDES.items()}

    def upsampled(level_map: str, level: int, unit: float) -> str:
        return add_upsampled(
            graph, level_map, grids[level], size, smoothing=scoring.smoothing, unit=unit
        )

    maps = []
    if "student" in parts:
        fields = config.student.to_dict()
        student = _filled(
            lambda: Student(config.encoder.name, **fields, rngs=nnx.Rngs(0)),
            parts["student"]["params"],
            parts["student"]["batch_stats"],
        )
        reconstructed = add_student(graph, teacher, student)
        scales = np.asarray(parts["scales"], np.float64)
        for level in scoring.levels:
            level_map = add_level_map(graph, teacher[level - 1], reconstructed[level - 1])
            if "damping" in parts:
                damping = parts["damping"][level - 1]
                level_map = add_weighed(graph, level_map, teacher[level - 1], damping)
            maps.append(upsampled(level_map, level, units[0] * scales[level - 1]))
    if "bank" in parts:
        levels = tuple(sorted(config.knn.levels))
        bank, damping = np.asarray(parts["bank"]), np.asarray(parts["bank_damping"])
        distances = add_distances(graph, teacher, bank, damping, levels, grids[levels[0]])
        maps.append(upsampled(distances, levels[0], units[1]))
    return maps


def _filled(build: Callable[[], nnx.Module], *arrays: Any) -> nnx.Module:
    """A module with its arrays: all of them, or its parameters and its batch statistics."""
    filters = (nnx.Param, nnx.BatchStat) if len(arrays) == 2 else (...,)
    graph, *_ = nnx.split(nnx.eval_shape(build), *filters)
    return nnx.merge(graph, *arrays)
