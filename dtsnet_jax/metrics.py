"""How good the scores are. All metrics are exact, take NumPy arrays and return numbers in [0, 1].

``pro`` is the standard protocol, over the whole test set and every distinct score;
``pro_per_image`` is what the released code of reverse distillation and DTSNet computes. Literature
mixes the two, so both are printed, each under its own name.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from sklearn.metrics import roc_auc_score

_EIGHT_CONNECTED = np.ones((3, 3), int)


def image_auroc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve over images (I-AUROC).

    Args:
      labels: (n,) 0 for good, 1 for defective.
      scores: (n,) larger is more anomalous.

    Returns:
      The area, or None where one of the classes is missing and it is undefined.
    """
    if len(np.unique(labels)) < 2:
        return None
    return float(roc_auc_score(labels, scores))


@dataclass(frozen=True)
class PixelMetrics:
    """Metrics over pixels; None where undefined (no defective or no good pixel at all).

    Attributes:
      auroc: area under the ROC curve over all pixels (P-AUROC).
      pro: area under the per-region-overlap curve up to a false-positive rate of 0.3, over 0.3.
      pro_per_image: the released code's variant.
    """

    auroc: float | None
    pro: float | None
    pro_per_image: float | None


def pixel_metrics(masks: np.ndarray, maps: np.ndarray, *, fpr_limit: float = 0.3) -> PixelMetrics:
    """Computes all pixel metrics; the two exact ones share a single sort.

    Args:
      masks: (n, h, w) bool, True on defects.
      maps: (n, h, w) float score maps.
      fpr_limit: where the PRO curve ends.

    Raises:
      ValueError: the shapes differ or a score is not finite.
    """
    if masks.shape != maps.shape:
        raise ValueError(f"masks have shape {masks.shape} but maps {maps.shape}")
    if not np.isfinite(maps).all():
        raise ValueError("score maps hold values that are not finite")
    masks = masks.astype(bool)
    if not masks.any() or masks.all():
        return PixelMetrics(None, None, None)
    curve = threshold_sweep(masks, maps)
    return PixelMetrics(
        auroc=float(np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)),
        pro=area_up_to(curve.false_positive_rate, curve.region_overlap, fpr_limit),
        pro_per_image=pro_per_image(masks, maps, fpr_limit=fpr_limit),
    )


@dataclass(frozen=True)
class ThresholdSweep:
    """Rates at every distinct score as threshold, from the highest down; each begins at 0."""

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    region_overlap: np.ndarray


def threshold_sweep(masks: np.ndarray, maps: np.ndarray) -> ThresholdSweep:
    """Sweeps one threshold over all test pixels together.

    The overlap of a region is the share of its pixels at or above the threshold; regions are
    8-connected and each counts the same whatever its size (Bergmann et al., IJCV 2021).
    """
    weight = _region_weights(masks).ravel()
    flat_mask, flat_map = masks.ravel(), maps.ravel()
    order = np.argsort(-flat_map)
    scores, defective = flat_map[order], flat_mask[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    true_positives = np.cumsum(defective, dtype=np.int64)[last_of_ties]
    false_positives = last_of_ties + 1 - true_positives
    overlap = np.cumsum(weight[order])[last_of_ties]
    rates = (
        false_positives / false_positives[-1],
        true_positives / true_positives[-1],
        overlap / overlap[-1],
    )
    return ThresholdSweep(*(np.insert(rate, 0, 0.0) for rate in rates))


def _region_weights(masks: np.ndarray) -> np.ndarray:
    """Gives each defective pixel 1 / (size of its region); the sum is the number of regions."""
    weights = np.zeros(masks.shape)
    for mask, weight in zip(masks, weights, strict=True):
        regions, count = ndimage.label(mask, _EIGHT_CONNECTED)
        if count:
            sizes = np.bincount(regions.ravel())
            weight[mask] = 1.0 / sizes[regions[mask]]
    return weights


def area_up_to(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Mean height of a curve over x in [0, limit], by the trapezoid rule.

    The last segment is cut exactly at ``limit`` and the area is divided by ``limit``, not by the
    largest x that was reached, so the result never exceeds max(y).

    Args:
      x: (n,) rising from 0 to 1.
      y: (n,) values at x.
    """
    inside = int(np.searchsorted(x, limit, side="right"))
    x_cut, y_cut = x[:inside], y[:inside]
    if x_cut[-1] < limit:
        share = (limit - x[inside - 1]) / (x[inside] - x[inside - 1])
        height = y[inside - 1] + share * (y[inside] - y[inside - 1])
        x_cut, y_cut = np.append(x_cut, limit), np.append(y_cut, height)
    return float(np.trapezoid(y_cut, x_cut) / limit)


def pro_per_image(
    masks: np.ndarray, maps: np.ndarray, *, fpr_limit: float = 0.3, thresholds: int = 200
) -> float | None:
    """The released code's PRO: each defective image by itself, then averaged.

    For every image 200 thresholds are laid evenly from its lowest to its highest score. Points
    below the limit are kept, their rates divided by the largest of them, and the area is taken
    between the first and last point kept. Not comparable with ``pro``.

    Returns:
      None without defective images; images whose area is undefined (fewer than two points) are
      left out.
    """
    areas = []
    for mask, scores in zip(masks.astype(bool), maps.astype(np.float64), strict=True):
        low, high = scores.min(), scores.max()
        if not mask.any() or mask.all() or high == low:
            continue
        levels = np.arange(low, high, (high - low) / thresholds)
        regions, count = ndimage.label(mask, _EIGHT_CONNECTED)
        overlap = np.mean(
            [_share_above(scores[regions == index], levels) for index in range(1, count + 1)],
            axis=0,
        )
        rate = _share_above(scores[~mask], levels)
        kept = rate < fpr_limit
        if kept.sum() < 2 or rate[kept].max() == 0:
            continue
        rate = rate[kept] / rate[kept].max()
        areas.append(-np.trapezoid(overlap[kept], rate))
    return float(np.mean(areas)) if areas else None


def _share_above(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The share of ``values`` strictly above each threshold."""
    return 1.0 - np.searchsorted(np.sort(values), thresholds, side="right") / len(values)
