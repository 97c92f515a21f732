"""Curves and histograms as SVG, to be put into a page."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dtsnet_jax.report.table import METRICS

matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "dtsnet_jax", "font.size": 9}
GOOD, DEFECTIVE = "tab:blue", "tab:red"
# Shares of the figure. A layout that matplotlib computes takes as long again as the drawing.
_MARGINS = {"left": 0.2, "right": 0.97, "bottom": 0.16, "top": 0.9}


def _figure(title: str, x: str, y: str):
    figure = Figure(figsize=(4.4, 3.0))
    axes = figure.subplots(gridspec_kw=_MARGINS)
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def loss_curves(runs: dict[str, Sequence[dict]]) -> str:
    """The loss over the steps.

    Args:
      runs: records with 'step' and 'loss' by what the line is called.
    """
    figure, axes = _figure("Training loss (Eq. 8)", "step", "loss")
    for name, records in runs.items():
        points = [(r["step"], r["loss"]) for r in records if "loss" in r]
        axes.plot(*zip(*points, strict=True), label=name, linewidth=1)
    axes.set_yscale("log")
    axes.legend(fontsize=7)
    return _svg(figure)


def metric_curves(metric: str, runs: dict[str, Sequence[Sequence[dict]]], title: str) -> str:
    """A metric on the test images after epochs of training: mean and spread over seeds.

    Args:
      metric: a key of ``METRICS``.
      runs: by name, the records of each seed; a run without epochs (no training) has records with
        the metric alone and becomes a level line.
      title: of the picture.
    """
    figure, axes = _figure(title, "epoch", f"{METRICS[metric]} in %")
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
    axes.legend(fontsize=7)
    return _svg(figure)


def rate_curves(curves: dict[str, dict[str, Sequence[float]]], y: str, title: str) -> str:
    """ROC or PRO curves.

    Args:
      curves: by name, 'false_positive_rate' and the rate called ``y``.
      y: the key of the other rate.
      title: of the picture.
    """
    figure, axes = _figure(title, "false-positive rate", y.replace("_", " "))
    for name, curve in curves.items():
        axes.plot(curve["false_positive_rate"], curve[y], label=name, linewidth=1)
    if y == "overlap":
        axes.axvline(0.3, color="gray", linestyle=":", linewidth=1)
    axes.legend(fontsize=7, loc="lower right")
    return _svg(figure)


def score_histogram(
    good: Sequence[float], defective: Sequence[float], threshold: float | None, title: str
) -> str:
    """How the scores of good and defective images lie.

    Args:
      good, defective: image scores.
      threshold: of the largest F1, drawn as a line; None draws none.
      title: of the picture.
    """
    figure, axes = _figure(title, "score", "images")
    bins = np.histogram_bin_edges([*good, *defective], bins=30)
    axes.hist(good, bins, color=GOOD, alpha=0.6, label="good")
    axes.hist(defective, bins, color=DEFECTIVE, alpha=0.6, label="defective")
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", label=f"F1-max at {threshold:.3g}")
    axes.legend(fontsize=7)
    return _svg(figure)


def image_roc(good: Sequence[float], defective: Sequence[float]) -> dict[str, list[float]]:
    """The ROC curve over images, with a point for every distinct score."""
    thresholds = np.unique([*good, *defective])[::-1]
    rates = {}
    for name, values in (("false_positive_rate", good), ("true_positive_rate", defective)):
        below = np.searchsorted(np.sort(values), thresholds, side="left")
        rates[name] = [0.0, *(1 - below / len(values)).tolist()]
    return rates
