"""Tables as text and as Markdown."""

from collections.abc import Sequence

METRICS = {
    "image_auroc": "I-AUROC",
    "image_average_precision": "I-AP",
    "image_f1_max": "I-F1",
    "pixel_auroc": "P-AUROC",
    "pixel_average_precision": "P-AP",
    "pixel_f1_max": "P-F1",
    "pro": "PRO",
    "pro_per_image": "PRO per image",
}
ENOUGH_VISITS = 10_000  # image visits; README, "The preset :robust"
MOVING = 0.01  # what I-AUROC may still move from one measurement to the next


def results_rows(report: dict) -> tuple[list[str], list[list[str]]]:
    """The metrics in percent, one row a category and, of several, their mean.

    Args:
      report: what ``dtsnet_jax.results.summarize_run`` returns.

    Returns:
      Header and rows; metrics that no category has are left out.
    """
    categories = report["categories"]
    names = metrics_present(categories.values())
    header = ["category", *(METRICS[name] for name in names), "train", "test"]
    rows = [
        [
            name,
            *metric_cells(result, names),
            str(result["train_images"]),
            str(result["test_images"]),
        ]
        for name, result in categories.items()
    ]
    if len(categories) > 1:
        mean = {"metrics": report["mean"], "deviations": report["deviation"]}
        rows.append(["mean", *metric_cells(mean, names), "", ""])
    return header, rows


def results_text(report: dict) -> str:
    """What is printed after a run: the table and what is missing from it."""
    categories = report["categories"]
    lines = [text_table(*results_rows(report)), f"in percent; protocol {report['protocol']}"]
    seeds = len(next(iter(categories.values()))["seeds"])
    if seeds > 1:
        lines.append(f"mean ± standard deviation over {seeds} seeds")
    without = [
        c for c, result in categories.items() if result["test_images"] and not result["masks"]
    ]
    if without:
        lines.append(f"no masks, whole images are measured only: {', '.join(without)}")
    lines += notes(report)
    untested = [c for c, result in categories.items() if not result["metrics"]]
    if untested:
        lines.append(
            f"no good or no defective test images, nothing measured: {', '.join(untested)}"
        )
    return "\n".join(lines)


def notes(report: dict) -> list[str]:
    """What has to be said beside a run's figures.

    A line for every category and seed whose weights have not reached their last step, for every
    category that was trained for a short time or whose metrics still move, and for every note on
    the test images of one.
    """
    categories = report["categories"].items()
    of_images = {f"{name}: {line}": None for name, c in categories for line in c["notes"]}
    return [*_unfinished(report), *_short(report), *of_images]


def _short(report: dict) -> list[str]:
    """Where a longer training may give better weights, and where the last ones are chance.

    The loss does not tell: it falls by about the same part in every last fifth, however long the
    training is. What tells is the number of image visits, and metrics that still move.
    """
    train, lines = report["config"]["train"], []
    for category, result in report["categories"].items():
        seeds = result["seeds"]
        visits = seeds[0]["last_step"] * train["batch_size"] * train["accumulate"]
        if not visits:
            continue  # nothing is trained
        moves = sorted(map(_last_move, seeds))
        (fall, falls), (rise, rises) = moves[0], moves[-1]
        if rise > MOVING:
            lines.append(
                f"{category}: TRAINING MAY BE TOO SHORT: I-AUROC rose by {100 * rise:.1f} points "
                f"{rises}"
            )
        elif visits < ENOUGH_VISITS:
            lines.append(
                f"{category}: TRAINING MAY BE TOO SHORT: {visits:,} image visits; where defects "
                f"are hard to see, results rise until {ENOUGH_VISITS:,} and beyond"
            )
        if fall < -MOVING:
            lines.append(
                f"{category}: NOT SETTLED: I-AUROC fell by {-100 * fall:.1f} points {falls}; it "
                "swings, or the student learns to answer for defects too: a longer training tells"
            )
    return lines


def _last_move(seed: dict) -> tuple[float, str]:
    """How far I-AUROC moved to the last measurement, and between which epochs; 0.0 of a single one.

    The last epoch may be a step long: what was measured less than half an interval before its end
    does not count.
    """
    measured = [record for record in seed["records"] if "image_auroc" in record]
    if not measured:
        return 0.0, ""
    last, interval = measured[-1], measured[0]["step"]
    before = [record for record in measured if record["step"] <= last["step"] - interval / 2]
    if not before:
        return 0.0, ""
    move = last["image_auroc"] - before[-1]["image_auroc"]
    return move, f"from epoch {before[-1]['epoch']} to {last['epoch']} (seed {seed['seed']})"


def _unfinished(report: dict) -> list[str]:
    return [
        f"NOT FINISHED: {category}, seed {one['seed']}, at step {one['trained_to']} of "
        f"{one['last_step']}"
        for category, result in report["categories"].items()
        for one in result["seeds"]
        if one["trained_to"] < one["last_step"]
    ]


def metrics_present(results) -> list[str]:
    """The names of the metrics that at least one result has, in the order of ``METRICS``."""
    found = {name for result in results for name in result["metrics"]}
    return [name for name in METRICS if name in found]


def metric_cells(result: dict, names: Sequence[str]) -> list[str]:
    """Metrics in percent, with ± where there is a deviation, a dash where undefined.

    Args:
      result: with 'metrics' and 'deviations', both in [0, 1].
      names: which metrics.
    """

    def cell(name: str) -> str:
        if name not in result["metrics"]:
            return "–"
        text = f"{100 * result['metrics'][name]:.1f}"
        deviation = result["deviations"].get(name)
        return text if deviation is None else f"{text} ± {100 * deviation:.1f}"

    return [cell(name) for name in names]


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lays cells out in columns, the first aligned left, the others right."""
    table = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in table)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column aligned left, the others right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison_rows(reports: dict[str, dict]) -> tuple[list[str], list[list[str]]]:
    """Several runs side by side in percent: one row a run, its mean over the same categories.

    Args:
      reports: what ``dtsnet_jax.results.summarize_run`` returns, by the name of the row.

    Returns:
      Header and rows.
    """
    means = {
        name: {"metrics": report["mean"], "deviations": report["deviation"]}
        for name, report in reports.items()
    }
    names = metrics_present(means.values())
    header = ["variant", *(METRICS[name] for name in names)]
    rows = [[name, *metric_cells(mean, names)] for name, mean in means.items()]
    return header, rows


def comparison_text(reports: dict[str, dict]) -> str:
    """What is printed after a table of variants."""
    lines = [text_table(*comparison_rows(reports)), comparison_note(reports)]
    return "\n".join(lines)


def comparison_note(reports: dict[str, dict]) -> str:
    """What has to be said beside a table of variants."""
    protocols = "; ".join(sorted({report["protocol"] for report in reports.values()}))
    lines = [f"{name}: {line}" for name, report in reports.items() for line in notes(report)]
    return "\n".join([f"In percent. Protocol {protocols}.", *lines])
