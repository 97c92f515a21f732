"""What it takes to choose a limit: what each rate of false alarms costs in defects missed."""

from typing import NamedTuple

import numpy as np

from dtsnet_jax.prediction.limits import (
    Limit,
    Limits,
    describe_limits,
    describe_missing,
    find_limit,
    find_limits,
    percent,
)
from dtsnet_jax.report.plots import promise_curves

RATES = (0.001, 0.01, 0.02, 0.05, 0.1)  # of false alarms, in every table
_CURVE = np.geomspace(0.001, 0.2, 200).round(6).tolist()  # those of the plot


class LabelledScores(NamedTuple):
    """The scores of the test images of a category; there may be none.

    Attributes:
      good: (n,) float64, of good images.
      defective: (m,) float64, of all defective ones.
      kinds: the latter by the kind of defect.
    """

    good: np.ndarray
    defective: np.ndarray
    kinds: dict[str, np.ndarray]


def labelled_scores(result: dict) -> LabelledScores:
    """The scores of the test images.

    Args:
      result: of one category and seed, with 'images'.
    """
    by_kind: dict[str, list[float]] = {}
    for image in result["images"]:
        by_kind.setdefault(image["defect"], []).append(image["score"])
    kinds = {kind: np.array(by_kind[kind], np.float64) for kind in sorted(by_kind)}
    good = kinds.pop("good", np.array([]))
    return LabelledScores(good, np.concatenate([*kinds.values(), []]), kinds)


def limits_of_result(result: dict, config: dict) -> Limits | None:
    """The limits of a run, by the calibration images of one category and seed.

    Args:
      result: with 'calibration_scores'.
      config: the run's.

    Returns:
      None with too few calibration images.

    Raises:
      UserError: a calibration score is not finite.
    """
    calibration = np.array(result["calibration_scores"])
    if not len(calibration):
        return None
    rates = config["threshold"]
    return find_limits(calibration, false_alarms=rates["false_alarms"], review=rates["review"])


def limits_of_run(report: dict) -> tuple[list[dict], list[str]]:
    """What the page says of limits.

    Args:
      report: what ``dtsnet_jax.results.summarize_run`` returns; of several seeds the first counts.

    Returns:
      For each category with calibration scores its 'title', 'lines' on the limits of the run,
      'header' and 'rows' of a table of rates, 'missing' (why rates are not in it) and 'plot' (None
      without test images); and the names of the other categories.

    Raises:
      UserError: a calibration score is not finite.
    """
    found, without = [], []
    for category, result in report["categories"].items():
        first = result["seeds"][0]
        if first["calibration_scores"]:
            found.append(_of_category(f"{category}, seed {first['seed']}", first, report["config"]))
        else:
            without.append(category)
    return found, without


def _of_category(title: str, result: dict, config: dict) -> dict:
    calibration, test = np.array(result["calibration_scores"]), labelled_scores(result)
    limits, images = limits_of_result(result, config), len(calibration)
    chosen = config["threshold"]
    names = {chosen["review"]: "review", chosen["false_alarms"]: "NG"}  # of one for both NG
    rows, missing = [], []
    for rate in sorted({*RATES, *names} - {0}):
        limit = find_limit(calibration, rate)
        if limit is None:
            missing.append(describe_missing(images, rate))
        else:
            name = f"{percent(rate)} ({names[rate]})" if rate in names else percent(rate)
            rows.append([name, *_cells(limit, test)])
    return {
        "title": title,
        "lines": describe_limits(limits, images) if limits else [],
        "header": _header(test),
        "rows": rows,
        "missing": missing,
        "plot": _plot(title, calibration, test),
    }


def _header(test: LabelledScores) -> list[str]:
    header = ["false alarms promised", "limit", "which is"]
    if len(test.good):
        header.append(f"false alarms per 1,000, of {len(test.good):,} good test images")
    if test.kinds:
        header.append(f"found of {len(test.defective):,} defective, %")
    if len(test.kinds) > 1:
        header += [f"{kind}, of {len(scores):,}" for kind, scores in test.kinds.items()]
    return header


def _cells(limit: Limit, test: LabelledScores) -> list[str]:
    kind = "extrapolated"
    if limit.interval:
        low, high = (f"{100 * rate:.2g}" for rate in limit.interval)
        kind = f"exact, {low} to {high} %"
    cells = [f"{limit.score:.4g}", kind]
    if len(test.good):
        cells.append(f"{1000 * _beyond(test.good, limit):.0f}")
    if test.kinds:
        cells.append(f"{100 * _beyond(test.defective, limit):.1f}")
    if len(test.kinds) > 1:
        cells += [f"{100 * _beyond(scores, limit):.1f}" for scores in test.kinds.values()]
    return cells


def _beyond(scores: np.ndarray, limit: Limit) -> float:
    return float((scores > limit.score).mean())


def _plot(title: str, calibration: np.ndarray, test: LabelledScores) -> str | None:
    limits = [limit for rate in _CURVE if (limit := find_limit(calibration, rate))]
    if not limits or not (len(test.good) or len(test.defective)):
        return None
    false_alarms = [_beyond(test.good, limit) for limit in limits if len(test.good)]
    missed = [1 - _beyond(test.defective, limit) for limit in limits if len(test.defective)]
    return promise_curves(limits, false_alarms, missed, title)
