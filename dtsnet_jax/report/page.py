"""The report of a run: one HTML file that needs nothing beside it."""

from contextlib import suppress
from itertools import groupby
from pathlib import Path

from flax.traverse_util import flatten_dict

from dtsnet_jax.report import plots
from dtsnet_jax.report.document import PAGE_FILE, jpeg_uri, write_document
from dtsnet_jax.report.paper import PAPER_METRICS, paper_figures
from dtsnet_jax.report.table import (
    METRICS,
    comparison_rows,
    metric_cells,
    metrics_present,
    notes,
)
from dtsnet_jax.report.thresholds import labelled_scores, limits_of_result, limits_of_run

STEP_CURVES = {"loss": "Training loss (Eq. 8)", "gradient_norm": "Norm of the gradient"}


def write_page(reports: dict[str, dict], directories: dict[str, Path], workdir: Path) -> Path:
    """Writes 'report.html', which opens offline.

    Args:
      reports: what ``dtsnet_jax.results.summarize_run`` returns, by name: one run, or the rows of
        a comparison.
      directories: where each run's files lie.
      workdir: where the page goes.

    Returns:
      The file.
    """
    several = len(reports) > 1
    runs = [_run(name, report, directories[name]) for name, report in reports.items()]
    environments = []
    for report in reports.values():
        environments += [e for e in report["environments"] if e not in environments]
    return write_document(
        workdir / PAGE_FILE,
        "page.html",
        title=", ".join(reports),
        comparison=comparison_rows(reports) if several else None,
        by_category=_by_category(reports) if several else None,
        curves=_comparison_curves(reports) if several else [],
        runs=runs,
        environments=environments,
    )


def _run(name: str, report: dict, directory: Path) -> dict:
    """What the template needs of one run."""
    limits, without_limits = limits_of_run(report)
    return {
        "name": name,
        "protocol": report["protocol"],
        "too_optimistic": report["config"]["protocol"] == "best_on_test",
        "notes": notes(report),
        "table": _table(report),
        "against_paper": _against_paper(report),
        "plots": _plots(report),
        "limits": limits,
        "without_limits": without_limits,
        "galleries": [
            (category, _gallery(result["seeds"][0], directory))
            for category, result in report["categories"].items()
        ],
        "durations": _durations(report),
        "config": flatten_dict(report["config"], sep=".").items(),
    }


def _table(report: dict) -> tuple[list[str], list[list[str]]]:
    names = metrics_present(report["categories"].values())
    rows = [[c, *metric_cells(result, names)] for c, result in report["categories"].items()]
    if len(rows) > 1:
        mean = {"metrics": report["mean"], "deviations": report["deviation"]}
        rows.append(["mean", *metric_cells(mean, names)])
    return ["category", *(METRICS[name] for name in names)], rows


def _against_paper(report: dict) -> tuple[list[str], list[list[str]]] | None:
    """Ours, the paper's and the difference, where the paper has a figure."""
    config = report["config"]
    paper = paper_figures(config["data"]["name"], config["variant"])
    ours = {name: result["metrics"] for name, result in report["categories"].items()}
    if ours.keys() == config["epochs_by_category"].keys():  # all of the data set
        ours["mean"] = report["mean"]
    rows = []
    for category in ours.keys() & paper.keys():
        cells = [category]
        for metric in PAPER_METRICS:
            if metric not in ours[category]:
                cells += ["–"] * 3
                continue
            values = 100 * ours[category][metric], 100 * paper[category][metric]
            cells += [f"{values[0]:.1f}", f"{values[1]:.1f}", f"{values[0] - values[1]:+.1f}"]
        rows.append(cells)
    if not rows:
        return None
    header = ["category"]
    for metric in PAPER_METRICS:
        header += [f"{METRICS[metric]}, ours", "paper", "difference"]
    return header, sorted(rows)


def _plots(report: dict) -> list[str]:
    """Loss and gradient, ROC, PRO and the histogram of every category."""
    losses, roc, pixel, histograms = {}, {}, {}, []
    for category, result in report["categories"].items():
        for one in result["seeds"]:
            if any("loss" in record for record in one["records"]):
                losses[f"{category}, seed {one['seed']}"] = one["records"]
        first = result["seeds"][0]
        good, defective, _ = labelled_scores(first)
        limits = limits_of_result(first, report["config"])
        if len(good) and len(defective):
            roc[category] = plots.image_roc(good, defective)
        if (len(good) and len(defective)) or (limits and first["images"]):
            threshold = first["thresholds"].get("image")
            title = f"{category}: scores, seed {first['seed']}"
            histograms.append(plots.score_histogram(good, defective, threshold, title, limits))
        if first["curves"]:
            pixel[category] = first["curves"]
    drawn = [
        plots.step_curves(field, losses, title)
        for field, title in STEP_CURVES.items()
        if any(field in record for records in losses.values() for record in records)
    ]
    drawn += _metric_plots(report)
    if roc:
        drawn.append(plots.rate_curves(roc, "true_positive_rate", "ROC over images"))
    if pixel:
        drawn.append(plots.rate_curves(pixel, "true_positive_rate", "ROC over pixels"))
        drawn.append(plots.rate_curves(pixel, "overlap", "Per-region overlap"))
    return drawn + histograms


def _metric_plots(report: dict) -> list[str]:
    """Metrics after epochs of training, where they were measured."""
    measured = {
        category: [[r for r in one["records"] if "epoch" in r] for one in result["seeds"]]
        for category, result in report["categories"].items()
    }
    measured = {category: seeds for category, seeds in measured.items() if all(seeds)}
    return [
        plots.metric_curves(metric, shown, f"{METRICS[metric]} on the test images")
        for metric in ("image_auroc", "pixel_auroc", "pro")
        if (shown := {c: s for c, s in measured.items() if metric in s[0][0]})
    ]


def _by_category(reports: dict[str, dict]) -> tuple[list[str], list[list[str]]] | None:
    """I-AUROC of every category (row) by every variant (column); None for one category."""
    categories = list(next(iter(reports.values()))["categories"])
    if len(categories) < 2:
        return None
    rows = []
    for category in categories:
        results = [report["categories"][category] for report in reports.values()]
        rows.append([category, *(metric_cells(r, ["image_auroc"])[0] for r in results)])
    return ["I-AUROC", *reports], rows


def _comparison_curves(reports: dict[str, dict]) -> list[str]:
    """For each category the rows' I-AUROC after every epoch, or a level line without training."""
    drawn = []
    for category in next(iter(reports.values()))["categories"]:
        lines = {}
        for name, report in reports.items():
            seeds = []
            for one in report["categories"][category]["seeds"]:
                measured = [r for r in one["records"] if "image_auroc" in r]
                seeds.append(measured if measured else [one["metrics"]])
            untrained = report["config"]["detector"] == "knn"
            if all("image_auroc" in s[0] for s in seeds) and (untrained or "epoch" in seeds[0][0]):
                lines[name] = seeds
        if any("epoch" in seeds[0][0] for seeds in lines.values()):
            drawn.append(plots.metric_curves("image_auroc", lines, f"{category}: I-AUROC"))
    return drawn


def _gallery(result: dict, directory: Path) -> list[tuple[str, list[dict]]]:
    """The pictures of a category in their groups, as data URIs.

    Another launch may be drawing some of them anew; these are left out.
    """
    cases = []
    for case in result.get("gallery", []):
        with suppress(FileNotFoundError):
            cases.append(case | {"uri": jpeg_uri((directory / case["file"]).read_bytes())})
    return [(group, list(members)) for group, members in groupby(cases, lambda c: c["group"])]


def _durations(report: dict) -> list[list[str]]:
    return [
        [
            category,
            str(one["seed"]),
            f"{one['step']} of {one['last_step']}",
            f"{one['training_seconds']:.0f}",
            f"{one.get('scoring_seconds', 0):.1f}",
        ]
        for category, result in report["categories"].items()
        for one in result["seeds"]
    ]
