"""All metrics of the score maps of one category."""

import numpy as np

from dtsnet_jax.evaluation.metrics import pixel_metrics, ranking_metrics
from dtsnet_jax.evaluation.scoring import Scores


def measure(
    labels: np.ndarray,
    masks: np.ndarray | None,
    scores: Scores,
    *,
    judged: np.ndarray,
) -> dict[str, dict[str, float]]:
    """Computes every metric that is defined.

    Args:
      labels: (n,) 0 for good, 1 for defective images.
      masks: (n, h, w) bool, or None.
      scores: of the n images.
      judged: (n,) bool, the images whose defective pixels are known, others count whole only.

    Returns:
      'metrics' in [0, 1] by their names in ``report.table.METRICS``, 'thresholds', and 'curves'
      over pixels.
    """
    rankings = {"image": ranking_metrics(labels, scores.images)}
    metrics, thresholds, curves = {}, {}, {}
    pixels = None
    if masks is not None:
        chosen = slice(None) if judged.all() else judged  # a slice copies nothing
        valid = None if scores.valid is None else scores.valid[chosen]
        pixels = pixel_metrics(masks[chosen], scores.maps[chosen], valid)
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
    """What 'best_on_test' maximises: the mean of the three metrics that the released code prints.

    Its PRO is taken image by image. What is undefined is left out.
    """
    names = ("image_auroc", "pixel_auroc", "pro_per_image")
    values = [metrics[name] for name in names if name in metrics]
    return float(np.mean(values)) if values else 0.0
