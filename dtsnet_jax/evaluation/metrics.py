"""How good the scores are. All metrics are exact, take NumPy arrays and return numbers in [0, 1].

``pro`` is the standard protocol, over the whole test set and every distinct score;
``pro_per_image`` is what the released code of reverse distillation and DTSNet computes. Literature
mixes the two, so both are printed, each under its own name.

Every metric but the last needs only the scores of good pixels and those of defective ones, each
sorted: what a threshold counts is then found by bisection. Defective pixels are few, so this is
fast and takes little memory.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_EIGHT_CONNECTED = np.ones((3, 3), int)


@dataclass(frozen=True)
class RankingMetrics:
    """How well scores tell defective from good.

    Attributes:
      auroc: area under the ROC curve.
      average_precision: precision averaged over the recall steps (not interpolated).
      f1_max: the largest F1 that any threshold reaches.
      f1_threshold: the highest threshold that reaches it; at or above is called defective.
    """

    auroc: float
    average_precision: float
    f1_max: float
    f1_threshold: float


def ranking_metrics(labels: np.ndarray, scores: np.ndarray) -> RankingMetrics | None:
    """Measures images or pixels.

    Args:
      labels: any shape, true or 1 for defective.
      scores: the same shape; larger is more anomalous.

    Returns:
      The metrics, or None where one of the classes is missing and they are undefined.

    Raises:
      ValueError: the shapes differ or a score is not finite.
    """
    labels = _checked(labels, scores)
    good, defective = np.sort(scores[~labels]), np.sort(scores[labels])
    return _ranking(good, defective) if len(good) and len(defective) else None


def _checked(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    if labels.shape != scores.shape:
        raise ValueError(f"labels have shape {labels.shape} but scores {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold values that are not finite")
    return labels.astype(bool)


def _ranking(good: np.ndarray, defective: np.ndarray) -> RankingMetrics:
    """Both sorted upwards and not empty. Thresholds that matter are the defective scores."""
    below = np.searchsorted(good, defective, side="left")
    not_above = np.searchsorted(good, defective, side="right")
    false_positives = len(good) - below
    true_positives = len(defective) - np.searchsorted(defective, defective, side="left")
    f1 = 2 * true_positives / (true_positives + false_positives + len(defective))
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    return RankingMetrics(
        auroc=float((below + not_above).mean() / 2 / len(good)),
        average_precision=float((true_positives / (true_positives + false_positives)).mean()),
        f1_max=float(f1[best]),
        f1_threshold=float(defective[best]),
    )


@dataclass(frozen=True)
class PixelMetrics:
    """Metrics over pixels.

    Attributes:
      ranking: as over images.
      pro: area under the per-region-overlap curve up to a false-positive rate of 0.3, over 0.3.
      pro_per_image: the released code's variant, None where it is undefined for every image.
      curves: for pictures, some points: 'false_positive_rate' and, at the same thresholds,
        'true_positive_rate' and 'overlap', the mean share of a region that is found.
    """

    ranking: RankingMetrics
    pro: float
    pro_per_image: float | None
    curves: dict[str, list[float]]


def pixel_metrics(
    masks: np.ndarray, maps: np.ndarray, valid: np.ndarray | None = None, *, fpr_limit: float = 0.3
) -> PixelMetrics | None:
    """Computes all pixel metrics.

    Args:
      masks: (n, h, w) bool, True on defects.
      maps: (n, h, w) float score maps.
      valid: (n, h, w) bool, the pixels that count, or None where all do.
      fpr_limit: where the PRO curve ends.

    Returns:
      The metrics, or None without any defective or without any good pixel.

    Raises:
      ValueError: the shapes differ or a score is not finite.
    """
    masks = _checked(masks, maps)
    good = ~masks if valid is None else valid & ~masks
    masks = masks if valid is None else valid & masks
    good, defective = np.sort(maps[good]), maps[masks]
    if not len(good) or not len(defective):
        return None
    order = np.argsort(defective)
    defective, weights = defective[order], _region_weights(masks)[order]
    return PixelMetrics(
        ranking=_ranking(good, defective),
        pro=_overlap_area(good, defective, weights, fpr_limit),
        pro_per_image=pro_per_image(masks, maps, valid, fpr_limit=fpr_limit),
        curves=_curves(good, defective, weights),
    )


def _curves(
    good: np.ndarray, defective: np.ndarray, weights: np.ndarray, points: int = 100
) -> dict[str, list[float]]:
    """Points of the ROC and PRO curves, dense where the false-positive rate is small."""
    wanted = np.linspace(0.0, 1.0, points) ** 2
    thresholds = good[::-1][np.ceil(wanted * (len(good) - 1)).astype(int)]
    above_good = len(good) - np.searchsorted(good, thresholds, side="right")
    first_above = np.searchsorted(defective, thresholds, side="right")
    overlap = np.append(np.cumsum(weights[::-1])[::-1], 0.0)[first_above]
    return {
        "false_positive_rate": [*(above_good / len(good)).tolist(), 1.0],
        "true_positive_rate": [*(1 - first_above / len(defective)).tolist(), 1.0],
        "overlap": [*overlap.tolist(), 1.0],
    }


def _region_weights(masks: np.ndarray) -> np.ndarray:
    """Gives each defective pixel 1 / (size of its region · number of regions).

    Regions are 8-connected, and each counts the same whatever its size.

    Returns:
      (number of defective pixels,), in the order of ``masks[masks]``; the sum is 1.
    """
    weights = []
    for mask in masks:
        if mask.any():
            regions, _ = ndimage.label(mask, _EIGHT_CONNECTED)
            weights.append(1.0 / np.bincount(regions.ravel())[regions[mask]])
    joined = np.concatenate(weights)
    return joined / joined.sum()


def _overlap_area(
    good: np.ndarray, defective: np.ndarray, weights: np.ndarray, limit: float
) -> float:
    """Mean height of the per-region-overlap curve over false-positive rates up to ``limit``.

    The curve (Bergmann et al., IJCV 2021) has a point for every distinct score. By the trapezoid
    rule, each good pixel contributes the mean of the overlaps just above and just at its score.
    The last segment is cut exactly at ``limit``, and the area is divided by ``limit``, not by the
    largest rate that a threshold happens to reach, so it never exceeds 1.

    Args:
      good: (g,) sorted upwards.
      defective: (d,) sorted upwards.
      weights: (d,) what each defective pixel adds to the overlap; the sum is 1.
      limit: in (0, 1].
    """
    overlap_from = np.append(np.cumsum(weights[::-1])[::-1], 0.0)  # of the pixels i, i + 1, …
    allowed = limit * len(good)  # false positives, not a whole number
    last = good[max(0, len(good) - int(np.ceil(allowed)))]  # the score where the limit is crossed
    first_inside = np.searchsorted(good, last, side="right")
    inside = good[first_inside:]
    above = overlap_from[np.searchsorted(defective, inside, side="right")]
    at = overlap_from[np.searchsorted(defective, inside, side="left")]
    area = (above.sum() + at.sum()) / 2
    # The pixels with the score ``last`` form one segment, of which a share lies inside.
    width = first_inside - np.searchsorted(good, last, side="left")
    share = (allowed - len(inside)) / width
    start = overlap_from[np.searchsorted(defective, last, side="right")]
    end = overlap_from[np.searchsorted(defective, last, side="left")]
    area += share * width * (start + share * (end - start) / 2)
    return float(area / allowed)


def pro_per_image(
    masks: np.ndarray,
    maps: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    fpr_limit: float = 0.3,
    thresholds: int = 200,
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
    for index, (mask, scores) in enumerate(zip(masks.astype(bool), maps, strict=True)):
        counts = np.ones(mask.shape, bool) if valid is None else valid[index]
        scores, mask, good = scores.astype(np.float64), mask & counts, counts & ~mask
        if not mask.any() or not good.any():
            continue
        low, high = scores[counts].min(), scores[counts].max()
        if high == low:
            continue
        levels = np.arange(low, high, (high - low) / thresholds)
        regions, count = ndimage.label(mask, _EIGHT_CONNECTED)
        overlap = np.mean(
            [_share_above(scores[regions == region], levels) for region in range(1, count + 1)],
            axis=0,
        )
        rate = _share_above(scores[good], levels)
        kept = rate < fpr_limit
        if kept.sum() < 2 or rate[kept].max() == 0:
            continue
        rate = rate[kept] / rate[kept].max()
        areas.append(-np.trapezoid(overlap[kept], rate))
    return float(np.mean(areas)) if areas else None


def _share_above(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The share of ``values`` strictly above each threshold."""
    return 1.0 - np.searchsorted(np.sort(values), thresholds, side="right") / len(values)
