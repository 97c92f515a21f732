"""Detectors of random weights, as if they had been trained."""

from functools import partial

import jax
import numpy as np

from dtsnet_jax.model.backbones import get_backbone
from dtsnet_jax.prediction.drift import Usual
from dtsnet_jax.prediction.saved import Calibration, SavedDetector
from dtsnet_jax.training.step import split_network
from tests.helpers import small_config
from tests.model.networks import draw_student, draw_teacher


def draw_detector(region=None, **fields) -> SavedDetector:
    """A detector of ``small_config``; ``fields`` are changed, with '__' for the dot.

    Args:
      region: (height, width) bool, or None.
    """
    config = small_config("", **fields)
    config.data.region = "" if region is None else "region.png"
    config.threshold.false_alarms, config.threshold.review = 0.1, 0.3
    generator = np.random.default_rng(0)
    name, options = config.encoder.name, config.student.to_dict()
    teacher, student = draw_teacher(name), draw_student(name, **options)
    _, teacher_arrays, params, batch_stats = split_network(
        get_backbone(name), teacher.encoder, student
    )
    parts = {"teacher": teacher_arrays}
    if config.detector != "knn":
        scales = generator.uniform(0.5, 2, 3) if config.scoring.calibrate else np.ones(3)
        parts["scales"] = scales.astype(np.float32)
        parts["student"] = {"params": params, "batch_stats": batch_stats}
        if config.scoring.weigh_by_length:
            parts["damping"] = generator.uniform(0.5, 2, 3).astype(np.float32)
    channels = get_backbone(name).channels
    if config.detector != "student":
        width = sum(channels[level - 1] for level in config.knn.levels)
        parts["bank"] = generator.normal(0, 0.2, (50, width)).astype(np.float32)
        parts["bank_damping"] = generator.uniform(0.5, 2, 3).astype(np.float32)
    if config.detector == "student+knn":
        parts["units"] = np.array([0.3, 0.7], np.float32)
    mean, *common = generator.normal(size=(9, sum(channels)))
    precision = np.eye(sum(channels)) + np.transpose(common) @ common
    calibration = Calibration(
        scores=generator.uniform(1, 3, 30),
        peaks=generator.uniform(1, 3, 30),
        features=generator.normal(size=(30, sum(channels))).astype(np.float32),
        usual=Usual(mean, precision.astype(np.float32)),
        typical=0.5,
        highest=3.0,
    )
    about = {"category": "parts", "seed": 0, "step": 1, "bit_depth": 8, "teacher": "0" * 64}
    about |= {"made_from": {}, "finished": True, "fingerprint": "1" * 64}
    parts = jax.tree_util.tree_map_with_path(partial(_disturbed, generator), parts)
    return SavedDetector(config, about, parts, calibration, region)


def _disturbed(generator: np.random.Generator, path: tuple, array: np.ndarray) -> np.ndarray:
    """BatchNorm that does something; other arrays as they are."""
    leaf = getattr(path[-1], "key", None)
    if leaf in ("scale", "var"):
        return generator.uniform(0.5, 1.5, array.shape).astype(np.float32)
    if leaf in ("bias", "mean"):
        return generator.normal(0, 0.1, array.shape).astype(np.float32)
    return np.asarray(array)
