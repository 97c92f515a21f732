"""Curves and histograms of a run as SVG, to be put into a page."""

import io
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from dtsnet_jax.prediction.limits import Limit, Limits
from dtsnet_jax.report.table import METRICS

matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "dtsnet_jax", "font.size": 9}
GOOD, DEFECTIVE = "tab:blue", "tab:red"
REVIEW_LINE, REJECT_LINE = "#b26a00", "#8e0000"
PIXELS_PER_INCH = 200  # of what is drawn as pixels
# Shares of the figure. A layout that matplotlib computes takes as long again as the drawing.
_MARGINS = {"left": 0.2, "right": 0.97, "bottom": 0.16, "top": 0.9}


def new_figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """A picture with one plot, whose title is shown as it is; x and y are its axes' labels."""
    figure = Figure(figsize=(4.4, 3.0))
    axes = figure.subplots(gridspec_kw=_MARGINS)
    axes.set_title(title, parse_math=False)  # categories may have dollar signs
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def add_legend(axes: Axes, **where: object) -> None:
    """Names what is drawn; names are shown as they are, like titles."""
    for text in axes.legend(fontsize=7, **where).get_texts():
        text.set_parse_math(False)


def to_svg(figure: Figure) -> str:
    """The element of a page that shows a picture."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=PIXELS_PER_INCH)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def step_curves(field: str, runs: dict[str, Sequence[dict]], title: str) -> str:
    """What every recorded step tells of itself.

    Args:
      field: of the records, see ``dtsnet_jax.training.step.StepMetrics``.
      runs: records by what the line is called.
      title: of the picture.
    """
    figure, axes = new_figure(title, "step", field.replace("_", " "))
    for name, records in runs.items():
        points = [(r["step"], r[field]) for r in records if field in r]
        axes.plot(*zip(*points, strict=True), label=name, linewidth=1)
    axes.set_yscale("log")
    add_legend(axes)
    return to_svg(figure)


def metric_curves(metric: str, runs: dict[str, Sequence[Sequence[dict]]], title: str) -> str:
    """A metric on the test images after epochs of training: mean and spread over seeds.

    Args:
      metric: a key of ``METRICS``.
      runs: by name, the records of each seed; a run without epochs (no training) has records with
        the metric alone and becomes a level line.
      title: of the picture.
    """
    figure, axes = new_figure(title, "epoch", f"{METRICS[metric]} in %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for number, (name, seeds) in enumerate(runs.items()):
        colour = f"C{number}"
        if "epoch" not in seeds[0][0]:
            value = 100 * np.mean([records[0][metric] for records in seeds])
            axes.axhline(value, color=colour, linestyle="--", label=name)
            continue
        # An epoch that was cut short and gone on with later is recorded twice; the second counts.
        values = [{r["epoch"]: 100 * r[metric] for r in records} for records in seeds]
        epochs = sorted(set.intersection(*map(set, values)))
        table = np.array([[of_seed[epoch] for epoch in epochs] for of_seed in values])
        mean = table.mean(axis=0)
        axes.plot(epochs, mean, color=colour, marker="o", markersize=3, label=name)
        if len(table) > 1:
            spread = table.std(axis=0, ddof=1)
            axes.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.15)
    add_legend(axes)
    return to_svg(figure)


def rate_curves(curves: dict[str, dict[str, Sequence[float]]], y: str, title: str) -> str:
    """ROC or PRO curves.

    Args:
      curves: by name, 'false_positive_rate' and the rate called ``y``.
      y: the key of the other rate.
      title: of the picture.
    """
    figure, axes = new_figure(title, "false-positive rate", y.replace("_", " "))
    for name, curve in curves.items():
        axes.plot(curve["false_positive_rate"], curve[y], label=name, linewidth=1)
    if y == "overlap":
        axes.axvline(0.3, color="gray", linestyle=":", linewidth=1)
    add_legend(axes, loc="lower right")
    return to_svg(figure)


def score_histogram(
    good: np.ndarray,
    defective: np.ndarray,
    threshold: float | None,
    title: str,
    limits: Limits | None = None,
) -> str:
    """How the scores of good and defective images lie.

    Args:
      good, defective: image scores, (n,) float; one of them may be empty.
      threshold: of the largest F1, drawn as a line; None draws none.
      title: of the picture.
      limits: drawn as lines; None draws none.
    """
    figure, axes = new_figure(title, "score", "images")
    bins = np.histogram_bin_edges([*good, *defective], bins=30)
    for scores, colour, label in ((good, GOOD, "good"), (defective, DEFECTIVE, "defective")):
        if len(scores):
            axes.hist(scores, bins, color=colour, alpha=0.6, label=label)
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", label=f"F1-max at {threshold:.3g}")
    if limits is not None:
        draw_limits(axes.axvline, limits)
    add_legend(axes)
    return to_svg(figure)


def draw_limits(line: Callable, limits: Limits) -> None:
    """Draws both limits, or the one.

    Args:
      line: ``axvline`` or ``axhline`` of the plot.
      limits: as found.
    """
    review, reject = limits.review.score, limits.reject.score
    if limits.review != limits.reject:
        line(review, color=REVIEW_LINE, linestyle=":", label=f"review above {review:.3g}")
    line(reject, color=REJECT_LINE, linestyle="-.", label=f"NG above {reject:.3g}")


def promise_curves(
    limits: Sequence[Limit], false_alarms: Sequence[float], missed: Sequence[float], title: str
) -> str:
    """What the test images say of limits, over the rates of false alarms that they promise.

    Args:
      limits: by rate.
      false_alarms: of each, the share of good images beyond it; [] where there are none.
      missed: of each, the share of defective images not beyond it; [] where there are none.
      title: of the picture.
    """
    figure, axes = new_figure(title, "false alarms promised, %", "of the test images, %")
    rates = [100 * limit.rate for limit in limits]
    axes.plot(rates, rates, color="gray", linestyle=":", label="false alarms promised")
    lines = ((false_alarms, GOOD, "false alarms"), (missed, DEFECTIVE, "defects missed"))
    for shares, colour, label in lines:
        if shares:
            axes.plot(rates, [100 * share for share in shares], color=colour, label=label)
    extrapolated = [rate for rate, limit in zip(rates, limits, strict=True) if limit.extrapolated]
    if extrapolated:
        axes.axvspan(rates[0], extrapolated[-1], color="gray", alpha=0.15, label="extrapolated")
    axes.set(xscale="log", xlim=(0.09, 22), ylim=(0, None))
    axes.set_xticks(ticks := (0.1, 0.2, 0.5, 1, 2, 5, 10, 20), [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    add_legend(axes)
    return to_svg(figure)


def image_roc(good: np.ndarray, defective: np.ndarray) -> dict[str, list[float]]:
    """The ROC curve over images, with a point for every distinct score."""
    thresholds = np.unique([*good, *defective])[::-1]
    rates = {}
    for name, values in (("false_positive_rate", good), ("true_positive_rate", defective)):
        below = np.searchsorted(np.sort(values), thresholds, side="left")
        rates[name] = [0.0, *(1 - below / len(values)).tolist()]
    return rates
