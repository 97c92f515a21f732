"""Metrics against brute force, scikit-learn, adeval and the cases that others got wrong."""

import itertools
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from dtsnet_jax.evaluation.measure import measure
from dtsnet_jax.evaluation.metrics import pixel_metrics, pro_per_image, ranking_metrics
from dtsnet_jax.evaluation.scoring import Scores

SHAPE = (2, 7, 6)
MASKS = hnp.arrays(bool, SHAPE)
MAPS = hnp.arrays(np.float32, SHAPE, elements=st.integers(0, 12).map(np.float32))


def brute_force_pro(masks, maps, limit=0.3):
    """The definition, one threshold at a time."""
    regions = []
    for index, mask in enumerate(masks):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions += [(index, labels == number) for number in range(1, count + 1)]
    points = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel()), reverse=True):
        above = maps >= threshold
        overlap = np.mean([above[index][region].mean() for index, region in regions])
        points.append((above[~masks].mean(), overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + y_end) / 2
    return area / limit


@settings(max_examples=200, deadline=None)
@given(masks=MASKS, maps=MAPS)
def test_exact_metrics_equal_their_definitions(masks, maps):
    metrics = pixel_metrics(masks, maps)
    if not masks.any() or masks.all():
        assert metrics is None
        return
    labels, scores = masks.ravel(), maps.ravel()
    assert metrics.ranking == ranking_metrics(labels, scores)
    assert metrics.ranking.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    assert metrics.ranking.average_precision == pytest.approx(
        average_precision_score(labels, scores), abs=1e-9
    )
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    assert metrics.ranking.f1_max == pytest.approx(f1.max(), abs=1e-9)
    best = np.flatnonzero(f1[:-1] > f1.max() - 1e-12)
    assert metrics.ranking.f1_threshold == thresholds[best].max()
    assert metrics.pro == pytest.approx(brute_force_pro(masks, maps), abs=1e-9)
    assert 0 <= metrics.pro <= 1 + 1e-12


def test_areas_equal_those_of_adeval(monkeypatch):
    # Its import replaces how all functions are pickled: that ends with this test.
    monkeypatch.setattr(ForkingPickler, "reducer_override", None, raising=False)
    import adeval

    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # NumPy 2.4 dropped that name
    generator = np.random.default_rng(0)
    masks = ndimage.gaussian_filter(generator.normal(size=(6, 64, 64)), (0, 6, 6)) > 0.05
    masks[0] = False
    maps = ndimage.gaussian_filter(generator.normal(size=masks.shape) + 0.2 * masks, (0, 2, 2))
    # It counts in bins, of which so many leave an error of 5e-5 here.
    area, _, pro = adeval.auroc_aupr_aupro(maps, masks.astype(np.uint8), nstrips=100_000)
    metrics = pixel_metrics(masks, maps)
    assert metrics.ranking.auroc == pytest.approx(area, abs=1e-4)
    assert metrics.pro == pytest.approx(pro, abs=1e-4)
    assert pro < 0.9


def released_pro(mask, scores):
    """The released procedure for one image: 200 steps, points below 0.3, rescaled."""
    low, high = scores.min(), scores.max()
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    rates, overlaps = [], []
    for threshold in np.arange(low, high, (high - low) / 200):
        above = scores > threshold
        overlaps.append(np.mean([above[labels == n].mean() for n in range(1, count + 1)]))
        rates.append(above[~mask].mean())
    rates, overlaps = np.array(rates), np.array(overlaps)
    kept = rates < 0.3
    return auc(rates[kept] / rates[kept].max(), overlaps[kept])


def test_pro_per_image_equals_the_released_procedure():
    generator = np.random.default_rng(0)
    masks = np.zeros((4, 40, 40), bool)
    masks[0, 5:12, 5:20] = masks[0, 30:, 30:] = masks[1, 0:6, 10:14] = masks[2, 20:25, 3:30] = True
    maps = ndimage.gaussian_filter(generator.normal(size=masks.shape), (0, 2, 2)) + 0.1 * masks
    expected = np.mean([released_pro(masks[i], maps[i]) for i in range(3)])
    assert pro_per_image(masks, maps) == pytest.approx(expected, abs=1e-6)


def test_a_perfect_map_has_pro_one_and_never_more():
    mask = np.zeros((1, 20, 20), bool)
    mask[0, :4, :4] = True
    metrics = pixel_metrics(mask, mask.astype(np.float32))
    assert metrics.ranking.auroc == metrics.ranking.average_precision == 1
    assert metrics.ranking.f1_max == metrics.ranking.f1_threshold == 1
    assert metrics.pro == pytest.approx(1)


def test_a_constant_map_is_the_diagonal():
    mask = np.zeros((1, 20, 20), bool)
    mask[0, :4, :4] = True
    metrics = pixel_metrics(mask, np.ones((1, 20, 20), np.float32))
    assert metrics.ranking.auroc == pytest.approx(0.5)
    assert metrics.ranking.average_precision == pytest.approx(16 / 400)
    assert metrics.pro == pytest.approx(0.15)
    assert metrics.pro_per_image is None


def test_area_is_divided_by_the_limit_not_by_the_largest_rate_reached():
    """Ten good pixels: two share the highest score with the region, eight the lowest."""
    mask = np.zeros((1, 1, 12), bool)
    mask[..., :2] = True
    maps = np.zeros((1, 1, 12), np.float32)
    maps[..., :4] = 1.0
    # Overlap rises from 0 to 1 while the rate goes to 0.2, and stays: (0.1 + 0.1) / 0.3.
    assert pixel_metrics(mask, maps).pro == pytest.approx(2 / 3)


def test_a_rate_that_jumps_over_the_limit_is_interpolated():
    mask = np.zeros((1, 1, 8), bool)
    mask[..., :4] = True
    maps = np.zeros((1, 1, 8), np.float32)
    maps[..., :2] = 2.0  # half of the region, no good pixel
    # From (0, 0.5) straight to (1, 1): the mean over [0, 0.3] is at 0.15.
    assert pixel_metrics(mask, maps).pro == pytest.approx(0.5 + 0.5 * 0.15)


def test_a_region_at_the_border_counts_as_any_other():
    maps = np.random.default_rng(0).normal(size=(1, 16, 16)).astype(np.float32)
    mask = np.zeros((1, 16, 16), bool)
    mask[0, :3, :5] = mask[0, 8:10, 14:] = True
    assert pixel_metrics(mask, maps).pro == pytest.approx(brute_force_pro(mask, maps), abs=1e-9)


def test_diagonal_neighbours_are_one_region():
    mask = np.zeros((1, 8, 8), bool)
    mask[0, 1, 1] = mask[0, 2, 2] = mask[0, 6, 6] = True
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, 1, 1] = maps[0, 6, 6] = 1.0
    # Overlaps at the high threshold: 1/2 of the diagonal region, all of the single one.
    assert pixel_metrics(mask, maps).pro == pytest.approx(0.75 + 0.25 * 0.15)


def test_one_class_only_has_no_metrics():
    assert ranking_metrics(np.zeros(3), np.arange(3)) is None
    assert ranking_metrics(np.ones(3), np.arange(3)) is None
    assert ranking_metrics(np.array([0, 1, 1]), np.array([0.1, 0.2, 0.2])).auroc == 1.0


def test_good_images_only_add_good_pixels():
    mask = np.zeros((3, 10, 10), bool)
    mask[1, 2:5, 2:5] = True
    maps = np.random.default_rng(0).random((3, 10, 10))
    assert pixel_metrics(mask, maps).pro == pytest.approx(brute_force_pro(mask, maps), abs=1e-9)
    assert pixel_metrics(np.zeros_like(mask), maps) is None


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        pixel_metrics(np.ones((1, 2, 2), bool), np.full((1, 2, 2), np.nan))


def test_pixels_that_do_not_count_might_as_well_not_be_there():
    generator = np.random.default_rng(0)
    masks = np.zeros((4, 20, 24), bool)
    masks[1, 4:9, 3:8] = masks[2, 10:13, 10:20] = True
    maps = (generator.random(masks.shape) + masks).astype(np.float32)
    expected = pixel_metrics(masks, maps)
    wider = [(0, 0), (0, 0), (5, 7)]
    found = pixel_metrics(
        np.pad(masks, wider, constant_values=True),
        np.pad(maps, wider, constant_values=3),
        np.pad(np.ones_like(masks), wider),
    )
    assert found == expected
    assert pixel_metrics(masks, maps, ~masks) is None
    assert pixel_metrics(masks, maps, masks) is None


def test_defective_images_without_a_mask_count_whole_only():
    labels = np.array([0, 0, 1, 1])
    masks = np.zeros((4, 10, 10), bool)
    masks[2, 2:4, 2:4] = True
    maps = np.random.default_rng(0).random(masks.shape).astype(np.float32)
    scores = Scores(maps, maps.max((1, 2)), None)
    judged = np.array([True, True, True, False])
    found = measure(labels, masks, scores, judged=judged)
    assert found["metrics"]["pixel_auroc"] == pixel_metrics(masks[:3], maps[:3]).ranking.auroc
    assert found["metrics"]["image_auroc"] == ranking_metrics(labels, scores.images).auroc
    assert "pixel_auroc" not in measure(labels, None, scores, judged=labels == 0)["metrics"]
