"""Scores the test images of one category with a fitted detector and measures the scores."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dtsnet_jax.inputs import CategoryImages, TestImages
from dtsnet_jax.mesh import map_batches
from dtsnet_jax.metrics import pixel_metrics, ranking_metrics
from dtsnet_jax.processes import is_first
from dtsnet_jax.report.gallery import write_gallery
from dtsnet_jax.report.heatmaps import write_heatmaps
from dtsnet_jax.scoring import image_score


@dataclass(frozen=True)
class Fitted:
    """A detector that has learned one category.

    Attributes:
      score: (b, size, size, 3) uint8 on the devices to (b, size, size) score maps.
      step: batches it was trained on; 0 where there is no training.
      seconds: what learning took.
      mesh: the devices.
    """

    score: Callable[[jax.Array], jax.Array]
    step: int
    seconds: float
    mesh: Mesh


def measure(
    labels: np.ndarray, scores: np.ndarray, masks: np.ndarray | None, maps: np.ndarray
) -> dict[str, dict[str, float]]:
    """Computes every metric that is defined.

    Args:
      labels: (n,) 0 for good, 1 for defective images.
      scores: (n,) image scores.
      masks: (n, h, w) bool, or None.
      maps: (n, h, w) score maps.

    Returns:
      'metrics' in [0, 1] by their names in ``report.table.METRICS``, 'thresholds', and 'curves'
      over pixels.
    """
    rankings = {"image": ranking_metrics(labels, scores)}
    metrics, thresholds, curves = {}, {}, {}
    pixels = None if masks is None else pixel_metrics(masks, maps)
    if pixels is not None:
        rankings["pixel"] = pixels.ranking
        metrics |= {"pro": pixels.pro, "pro_per_image": pixels.pro_per_image}
        curves = pixels.curves
    for unit, ranking in rankings.items():
        if ranking is not None:
            metrics[f"{unit}_auroc"] = ranking.auroc
            metrics[f"{unit}_average_precision"] = ranking.average_precision
            metrics[f"{unit}_f1_max"] = ranking.f1_max
            thresholds[unit] = ranking.f1_threshold
    defined = {name: value for name, value in metrics.items() if value is not None}
    return {"metrics": defined, "thresholds": thresholds, "curves": curves}


def selection_value(metrics: dict[str, float]) -> float:
    """What 'best_on_test' maximises: the mean of the paper's metrics that are defined."""
    values = [metrics[name] for name in ("image_auroc", "pixel_auroc", "pro") if name in metrics]
    return float(np.mean(values)) if values else 0.0


def score_maps(fitted: Fitted, test: TestImages, *, batch_size: int) -> np.ndarray:
    """The score map of every test image, (n, size, size) float32."""
    return map_batches(fitted.score, test.images, batch_size=batch_size, mesh=fitted.mesh)


def evaluate_category(
    config: ConfigDict,
    fitted: Fitted,
    images: CategoryImages,
    directory: Path,
    *,
    pictures: bool,
) -> dict:
    """Scores and measures one category and draws what was found.

    Args:
      config: the configuration.
      fitted: the detector.
      images: the category's images.
      directory: where pictures go.
      pictures: whether to draw them.

    Returns:
      Metrics in [0, 1] (absent where undefined), the thresholds of the largest F1, curves, counts,
      durations, and every test image with its score.
    """
    catalog, test = images.catalog, images.test
    result = {
        "step": fitted.step,
        "train_images": len(catalog.train),
        "test_images": len(catalog.test),
        "masks": catalog.has_masks,
        "training_seconds": round(fitted.seconds, 2),
        "metrics": {},
        "thresholds": {},
        "curves": {},
        "images": [],
    }
    if test is None:
        return result
    started = time.monotonic()
    maps = score_maps(fitted, test, batch_size=config.scoring.batch_size)
    result["scoring_seconds"] = round(time.monotonic() - started, 2)
    scores = np.asarray(image_score(maps))
    result |= measure(test.labels, scores, test.masks, maps)
    result["images"] = [
        {"file": str(sample.path), "defect": sample.defect, "score": float(score)}
        for sample, score in zip(catalog.test, scores, strict=True)
    ]
    if pictures and is_first():
        threshold = result["thresholds"].get("image")
        result["gallery"] = write_gallery(directory / "gallery", test, maps, threshold)
        if config.scoring.heatmaps:
            write_heatmaps(directory / "heatmaps", catalog.test, test.images, maps, test.masks)
    return result
