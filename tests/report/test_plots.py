import re

import pytest

from dtsnet_jax.report.plots import metric_curves, step_curves


@pytest.mark.parametrize(("first", "last"), [(0.6, 0.02), (0.9, 0.3), (0.05, 0.012), (3, 0.0012)])
def test_the_label_beside_the_axis_lies_on_the_picture(first, last):
    records = [{"step": 1, "loss": first}, {"step": 2, "loss": last}]
    assert left_of_label(step_curves("loss", {"bottle": records}, "loss")) > 8


def test_so_does_that_of_metrics_with_long_numbers():
    values = [0.99905, 0.99906, 0.99908]
    records = [{"epoch": epoch, "pro": value} for epoch, value in enumerate(values)]
    assert left_of_label(metric_curves("pro", {"bottle": [records]}, "PRO")) > 8


def left_of_label(svg):
    """Where the baseline of the turned label lies, in points; its letters are to the left."""
    (left,) = re.findall(r"rotate\(-90 ([-\d.]+) ", svg)
    return float(left)
