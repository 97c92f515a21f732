"""The page of what was predicted: one HTML file that needs nothing beside it."""

import io
import os
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from PIL import Image

from dtsnet_jax.prediction.limits import describe_calibration
from dtsnet_jax.prediction.log import TABLE_FILE, outcome_of
from dtsnet_jax.report.document import PAGE_FILE, jpeg_uri, write_document
from dtsnet_jax.report.prediction_plots import scores_beside_calibration, scores_in_order

if TYPE_CHECKING:
    from dtsnet_jax.prediction.detector import Detector

PICTURES = 24  # of the most anomalous photographs; of several categories they share them
FEWEST_PICTURES = 6  # of a category
PICTURE_SIZE = 760  # pixels, the longer side
ERRORS = 100  # that are shown
DRIFTS = 5  # that are told one by one, of a category
OUTCOMES = {
    "OK": "OK",
    "review": "review",
    "NG": "NG",
    "scored": "without a decision",
    "error": "could not be scored",
}


def write_predictions_page(
    out: Path, rows: list[dict], detectors: dict[str, "Detector"], *, earlier: int = 0
) -> Path:
    """Writes 'report.html', which opens offline.

    Args:
      out: the directory of the predictions, where the page goes.
      rows: those of ``PredictionLog``, in order.
      detectors: those that are loaded, by category; limits and calibration images of others are not
        shown.
      earlier: how many rows there are before these.

    Returns:
      The page.

    Raises:
      OSError: the disk is full or may not be written to.
    """
    categories = sorted({row["category"] for row in rows} | set(detectors), key=_unknown_last)
    several = len(categories) > 1
    outcomes = Counter(map(outcome_of, rows))
    shown = _outcomes_shown(outcomes)
    folder = _common_folder([row["file"] for row in rows])
    errors = [(row["file"], row["error"]) for row in rows if row["error"]]
    scored: dict[str, list[dict]] = {}
    for row in rows:
        if not row["error"]:
            scored.setdefault(row["category"], []).append(row)
    return write_document(
        out / PAGE_FILE,
        "predictions.html",
        title="Predictions",
        table_file=TABLE_FILE,
        folder=folder,
        photographs=len(rows),
        earlier=earlier,
        period=_period(rows),
        tiles=[_tile(outcome, outcomes[outcome], len(rows)) for outcome in shown],
        several=several,
        by_category=_by_category(rows, categories, shown) if several else None,
        limits=[(name, _limits(detectors.get(name))) for name in categories if name],
        drifts=[
            (name, line) for name in scored for line in _drifts(scored[name], folder, earlier > 0)
        ],
        sections=[
            _section(out, scored[name], detectors.get(name), folder, len(scored))
            for name in categories
            if name in scored
        ],
        errors=errors[:ERRORS],
        error_count=len(errors),
        detectors=[
            (name, one.fingerprint[:16], len(one.calibration.scores))
            for name, one in sorted(detectors.items())
        ],
    )


def _unknown_last(category: str) -> tuple[bool, str]:
    return not category, category


def _common_folder(files: Sequence[str]) -> str:
    """What all paths begin with, up to a separator."""
    prefix = os.path.commonprefix(files)  # noqa: RUF071 (is cut at a separator)
    return prefix[: max(prefix.rfind("/"), prefix.rfind("\\")) + 1]


def _period(rows: Sequence[dict]) -> str:
    """From when to when photographs were scored; '' where there are none."""
    if not rows:
        return ""
    first, last = (datetime.fromisoformat(row["at"]) for row in (rows[0], rows[-1]))
    end = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {end} UTC"


def _outcomes_shown(outcomes: Counter[str]) -> list[str]:
    """Without limits there are no decisions, and with them nothing is without one."""
    decided = outcomes["OK"] + outcomes["review"] + outcomes["NG"]
    absent = set() if decided or not outcomes["scored"] else {"OK", "review", "NG"}
    if not outcomes["scored"]:
        absent.add("scored")
    return [outcome for outcome in OUTCOMES if outcome not in absent]


def _tile(outcome: str, count: int, total: int) -> dict:
    share = f"{100 * count / total:.1f} %" if total else ""
    return {"outcome": outcome, "label": OUTCOMES[outcome], "count": count, "share": share}


def _by_category(
    rows: Sequence[dict], categories: Sequence[str], shown: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table of counts."""
    counts = Counter((row["category"], outcome_of(row)) for row in rows)
    table = [
        [category or "unknown", *(f"{counts[category, outcome]:,}" for outcome in shown)]
        for category in categories
    ]
    return ["category", *(OUTCOMES[outcome] for outcome in shown)], table


def _limits(detector: "Detector | None") -> list[str]:
    """The limits of a category in words."""
    if detector is None:
        return ["its limits are shown when there are new photographs"]
    images = len(detector.calibration.scores)
    return describe_calibration(detector.limits, images, detector.false_alarms)


def drift_stretches(rows: Sequence[dict]) -> list[tuple[int, int]]:
    """The first and the last place of each stretch of rows with drift."""
    flags = np.array([False, *(row["drift"] for row in rows), False])
    edges = np.flatnonzero(flags[1:] != flags[:-1]).tolist()
    return [(start, end - 1) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _drifts(rows: Sequence[dict], folder: str, cut: bool) -> list[str]:
    """A warning for every stretch of photographs of a category with drift, or for the first.

    ``cut`` tells that there are rows before these, so that the first stretch may begin there.
    """

    def named(row: dict) -> str:
        at = datetime.fromisoformat(row["at"])
        return f"'{row['file'].removeprefix(folder)}' ({at:%Y-%m-%d %H:%M} UTC)"

    stretches = drift_stretches(rows)
    lines = [
        "The photographs no longer looked like those of training from "
        f"{'before ' if cut and not start else ''}{named(rows[start])} to {named(rows[end])}, "
        f"{end - start + 1:,} photographs; light, camera or product changed, or many parts were "
        "defective."
        for start, end in stretches[:DRIFTS]
    ]
    if len(stretches) > DRIFTS:
        lines.append(f"So they did {len(stretches) - DRIFTS:,} times more.")
    return lines


def _section(
    out: Path, rows: Sequence[dict], detector: "Detector | None", folder: str, categories: int
) -> dict:
    """The most anomalous photographs of a category, and how all of them scored."""
    cases = nlargest(
        max(PICTURES // categories, FEWEST_PICTURES), rows, key=lambda row: row["score"]
    )
    scores, outcomes = [row["score"] for row in rows], [outcome_of(row) for row in rows]
    calibration = [] if detector is None else detector.calibration.scores
    limits = None if detector is None else detector.limits
    return {
        "category": rows[0]["category"],
        "calibration": len(calibration),
        "cases": [_case(out, row, folder) for row in cases],
        "plots": [
            scores_beside_calibration(scores, calibration, limits),
            scores_in_order(scores, outcomes, drift_stretches(rows), limits, _period(rows)),
        ],
    }


def _case(out: Path, row: dict, folder: str) -> dict:
    """What is shown of one photograph."""
    return {
        "file": row["file"],
        "name": row["file"].removeprefix(folder),
        "score": row["score"],
        "p_value": row["p_value"],
        "outcome": outcome_of(row),
        "link": quote(row["picture"] or "", errors="replace"),
        "uri": _small(out / row["picture"]) if row["picture"] else None,
    }


def _small(path: Path) -> str | None:
    """A picture reduced, as a data URI; None where there is none any more."""
    buffer = io.BytesIO()
    try:
        with Image.open(path) as picture:
            picture.thumbnail((PICTURE_SIZE, PICTURE_SIZE))
            picture.save(buffer, format="jpeg", quality=80)
    except Exception:  # whatever is wrong with one picture, the page is written
        return None
    return jpeg_uri(buffer.getvalue())
