"""A report says when the training looks too short."""

import re

import pytest

from dtsnet_jax.report.table import notes


def report(last_step, *measured):
    records = [{"step": 1, "loss": 2.0}]
    records += [{"epoch": epoch, "image_auroc": value} for epoch, value in measured]
    seed = {"seed": 0, "trained_to": last_step, "last_step": last_step, "records": records}
    return {
        "config": {"train": {"batch_size": 8, "accumulate": 2}},
        "categories": {"cup": {"notes": [], "seeds": [seed]}},
    }


@pytest.mark.parametrize(
    ("last_step", "measured", "said"),
    [
        (0, [], None),  # nearest neighbours
        (624, [], "9,984 image visits"),
        (625, [], None),
        (625, [(2, 0.7), (4, 0.8), (6, 0.805)], None),
        (625, [(2, 0.7), (4, 0.8), (6, 0.815)], r"by \+1\.5 points from epoch 4 to 6"),
        (100, [(2, 0.9), (4, 0.85)], r"by -5\.0 points from epoch 2 to 4"),
        (625, [(2, 0.7)], None),
    ],
)
def test_few_visits_and_moving_metrics_are_named(last_step, measured, said):
    lines = [line for line in notes(report(last_step, *measured)) if "TOO SHORT" in line]
    assert len(lines) == (said is not None)
    assert said is None or re.search(f"^cup: .*{said}", lines[0])
