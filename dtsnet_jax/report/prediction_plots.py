"""What was predicted as SVG, to be put into a page."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import NullFormatter

from dtsnet_jax.prediction.limits import Limits
from dtsnet_jax.report.plots import add_legend, draw_limits, new_figure, to_svg

COLOURS = {"OK": "#3a8f3e", "review": "#f09000", "NG": "#d32f2f", "scored": "#5f6b76"}


def scores_beside_calibration(
    scores: Sequence[float], calibration: Sequence[float] | np.ndarray, limits: Limits | None
) -> str:
    """How the scores of photographs lie beside those of good ones.

    Args:
      scores: of the photographs, at least one.
      calibration: of the calibration images; may be empty.
      limits: drawn as lines; None draws none.
    """
    figure, axes = new_figure("Scores", "score", "share of images, %")
    bins = np.histogram_bin_edges([*scores, *calibration], bins=50)

    def draw(values: Sequence[float] | np.ndarray, label: str, **style) -> None:
        weights = np.full(len(values), 100 / len(values))
        axes.hist(values, bins, weights=weights, label=f"{label} ({len(values):,})", **style)

    if len(calibration):
        draw(calibration, "good, for calibration", color="tab:blue", alpha=0.45)
    draw(scores, "these photographs", color="#222", histtype="step", linewidth=1.1)
    if limits is not None:
        draw_limits(axes.axvline, limits)
    # Logarithmic, so that a few defects among many good parts are seen, even a single one.
    axes.set(ylim=(50 / max(len(scores), len(calibration)), 100), yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    add_legend(axes)
    return to_svg(figure)


def scores_in_order(
    scores: Sequence[float],
    outcomes: Sequence[str],
    drifts: Sequence[tuple[int, int]],
    limits: Limits | None,
    period: str,
) -> str:
    """The scores of photographs in the order in which they were scored.

    Args:
      scores: of the photographs, at least one.
      outcomes: of each, a key of ``COLOURS``.
      drifts: first and last photograph of each stretch with drift, counted from 0.
      limits: drawn as lines; None draws none.
      period: from when to when, for the label.
    """
    figure, axes = new_figure("Scores in order", f"photograph ({period})", "score")
    numbers, scores, outcomes = np.arange(1, len(scores) + 1), np.array(scores), np.array(outcomes)
    size = float(np.clip(90 / np.sqrt(len(scores)), 1.5, 5))
    for outcome, colour in COLOURS.items():
        chosen = outcomes == outcome
        if chosen.any():  # as pixels: ten thousand of them as SVG would be megabytes
            points = axes.plot(numbers[chosen], scores[chosen], ".", color=colour, label=outcome)
            points[0].set(markersize=size, rasterized=True)
    for start, end in drifts:
        label = "drift" if (start, end) == drifts[0] else None
        axes.axvspan(start + 0.5, end + 1.5, color="tab:purple", alpha=0.15, lw=0, label=label)
    if limits is not None:
        draw_limits(axes.axhline, limits)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.3 * (top - bottom))  # room for the legend
    add_legend(axes, loc="upper left", ncols=3, markerscale=5 / size)
    return to_svg(figure)
