"""A report says when the training looks too short."""

import re

import pytest

from dtsnet_jax.report.table import notes


def report(last_step, *seeds):
    """Of seeds that were measured so: (epoch, step, I-AUROC)."""
    names = ("epoch", "step", "image_auroc")
    every = [[dict(zip(names, one, strict=True)) for one in measured] for measured in seeds]
    results = [
        {"seed": seed, "trained_to": last_step, "last_step": last_step, "records": records}
        for seed, records in enumerate([{"step": 1, "loss": 2.0}, *of_one] for of_one in every)
    ]
    return {
        "config": {"train": {"batch_size": 8, "accumulate": 2}},
        "categories": {"cup": {"notes": [], "seeds": results}},
    }


@pytest.mark.parametrize(
    ("last_step", "measured", "said"),
    [
        (0, [], None),  # nearest neighbours
        (624, [], "TOO SHORT: 9,984 image visits"),
        (625, [], None),
        (625, [(2, 200, 0.7), (4, 400, 0.8), (6, 600, 0.805)], None),
        (625, [(2, 200, 0.7), (4, 400, 0.8), (6, 600, 0.815)], r"SHORT.*1\.5 .* epoch 4 to 6"),
        (625, [(2, 200, 0.7), (4, 400, 0.8), (5, 401, 0.8)], r"SHORT.*10\.0 .* epoch 2 to 5"),
        (625, [(2, 50, 0.9), (4, 625, 0.85)], r"NOT SETTLED: .* fell by 5\.0 .* epoch 2 to 4"),
        (625, [(2, 625, 0.7)], None),
    ],
)
def test_few_visits_and_moving_metrics_are_named(last_step, measured, said):
    lines = notes(report(last_step, measured))
    assert len(lines) == (said is not None)
    assert said is None or re.search(f"^cup: .*{said}", lines[0])


def test_the_seeds_that_moved_farthest_are_named():
    rises, falls = [(1, 300, 0.7), (2, 600, 0.75)], [(1, 300, 0.7), (2, 600, 0.6)]
    rose, fell = notes(report(625, rises, falls, rises))
    assert "SHORT: I-AUROC rose by 5.0 points from epoch 1 to 2 (seed " in rose
    assert "NOT SETTLED: I-AUROC fell by 10.0 points from epoch 1 to 2 (seed 1);" in fell
    short, fell = notes(report(100, falls))
    assert "1,600 image visits" in short and "fell by 10.0" in fell
