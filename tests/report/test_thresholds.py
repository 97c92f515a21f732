"""What a run's report says of limits."""

import json
import re

import numpy as np
import pytest

from configs import folder
from dtsnet_jax.report.page import write_page
from dtsnet_jax.report.thresholds import limits_of_run
from dtsnet_jax.results import summarize_run

RATES = ["0.1 %", "1 % (NG)", "2 %", "5 % (review)", "10 %"]


def report_of(calibration, test, **threshold):
    """A run of one category whose test images score as told by kind."""
    config = folder.get_config("paper")
    config.threshold.update(threshold)
    kinds = [(kind, score) for kind, scores in test.items() for score in scores]
    result = {
        **{"seed": 7, "step": 4, "trained_to": 4, "last_step": 4, "training_seconds": 1.0},
        **{"train_images": 9, "test_images": len(kinds), "masks": False, "notes": []},
        **{"metrics": {}, "thresholds": {}, "curves": {}, "records": []},
        "environment": {"device": "1 × device", "versions": {}},
        "images": [{"file": "a.png", "defect": kind, "score": s} for kind, s in kinds],
        "calibration_scores": list(calibration),
    }
    if len(test) > 1:
        result["thresholds"] = {"image": 60.5}
    return summarize_run(config, {"parts": [result]})


def only_category(report):
    ((one,), without) = limits_of_run(report)
    assert without == []
    return one


def table_of(one):
    return {cells[0]: dict(zip(one["header"][1:], cells[1:], strict=True)) for cells in one["rows"]}


def page_of(report, tmp_path):
    return write_page({"run": report}, {"run": tmp_path}, tmp_path).read_text(encoding="utf-8")


def test_the_table_has_what_each_rate_costs():
    good = [50.0] * 96 + [90.0, 95.0, 97.0, 99.0]  # a score equal to the limit is not beyond it
    test = {"good": good, "scratch": [10.0, 96.5, 200.0, 200.0], "dent": [95.5]}
    one = only_category(report_of(np.arange(1.0, 100.0), test))
    table = table_of(one)
    assert list(table) == RATES
    false_alarms = "false alarms per 1,000, of 100 good test images"
    assert [cells["limit"] for cells in table.values()][1:] == ["99", "98", "95", "90"]
    assert [cells[false_alarms] for cells in table.values()] == ["0", "0", "10", "20", "30"]
    found = [cells["found of 5 defective, %"] for cells in table.values()]
    assert found[1:] == ["40.0", "40.0", "80.0", "80.0"]
    assert table["5 % (review)"]["dent, of 1"] == "100.0"
    assert table["2 %"]["dent, of 1"] == "0.0"
    assert table["5 % (review)"]["scratch, of 4"] == "75.0"
    assert table["0.1 %"]["which is"] == "extrapolated"
    assert table["1 % (NG)"]["which is"] == "exact, 0.052 to 3 %"
    assert one["lines"][1].startswith("NG above 99: 1 % false alarms")


def test_the_rates_of_the_run_are_in_the_table_and_no_review_is_no_rate():
    report = report_of(range(99), {}, false_alarms=0.03, review=0.0)
    one = only_category(report)
    assert [cells[0] for cells in one["rows"]] == ["0.1 %", "1 %", "2 %", "3 % (NG)", "5 %", "10 %"]
    assert len(one["lines"]) == 1


def test_rates_without_a_limit_are_left_out_with_the_reason():
    one = only_category(report_of(range(9), {"good": [1.0], "dent": [5.0]}))
    assert [cells[0] for cells in one["rows"]] == ["10 %"]
    assert len(one["missing"]) == 4 and one["lines"] == []
    assert all(line.startswith("no limit: 9 calibration images") for line in one["missing"])


@pytest.mark.parametrize(
    ("test", "columns", "lines"),
    [
        ({}, 3, None),
        ({"good": [1.0, 2.0]}, 4, {"false alarms"}),
        ({"dent": [1.0]}, 4, {"defects missed"}),
        ({"good": [1.0], "dent": [1.0]}, 5, {"false alarms", "defects missed"}),
    ],
)
def test_what_there_is_is_shown(test, columns, lines, tmp_path):
    report = report_of(range(40), test)
    one = only_category(report)
    assert {len(cells) for cells in (one["header"], *one["rows"])} == {columns}
    if lines is None:
        assert one["plot"] is None
    else:
        assert lines == _texts(one["plot"]) & {"false alarms", "defects missed"}
        assert "extrapolated" in _texts(one["plot"])
    drawn = page_of(report, tmp_path).count("NG above")
    assert drawn == (2 if test else 1)  # the sentence, and the line in the histogram


def _texts(svg):
    return set(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def test_the_histogram_has_both_limits_beside_the_threshold_of_the_largest_f1(tmp_path):
    report = report_of(range(1, 100), {"good": [50.0, 60.0], "dent": [61.0, 70.0]})
    texts = _texts(page_of(report, tmp_path))
    assert {"F1-max at 60.5", "review above 95", "NG above 99"} <= texts


def test_without_calibration_images_the_page_says_only_how_to_get_limits(tmp_path):
    report = report_of([], {"good": [50.0], "dent": [61.0]})
    page = page_of(json.loads(json.dumps(report)), tmp_path)
    assert "--config.data.calibration=0.1" in page and "No limits for predictions (parts)" in page
    assert "NG above" not in page and "Where to put the limit" not in page
    page = page_of(report_of(range(99), {"good": [50.0], "dent": [61.0]}), tmp_path)
    assert "No limits for predictions" not in page


def test_names_that_look_like_formulas_or_tags_are_shown_as_they_are(tmp_path):
    report = report_of(range(99), {"good": [50.0], r"<b>$\no$": [61.0], "dent": [3.0]})
    name = r"$\nothing$<i>"
    report["categories"] = {name: report["categories"]["parts"]}
    page = page_of(report, tmp_path)
    assert r"$\nothing$&lt;i&gt;: scores, seed 7" in page
    assert r"&lt;b&gt;$\no$, of 1" in page
    assert "<i>" not in page and "<b>" not in page
