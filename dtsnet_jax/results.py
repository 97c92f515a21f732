"""What a run leaves behind: where it lies, how seeds are averaged, and the files for machines."""

import csv
import io
import json
import platform
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from dtsnet_jax.processes import is_first
from dtsnet_jax.report.table import METRICS, markdown_table, results_rows

PROTOCOLS = {
    "final": "final: the weights after the last step, chosen without the test images",
    "best_on_test": "BEST ON TEST: of several measurements on the test images the best one is "
    "reported, as in the paper; too optimistic, only for comparison with it",
}
RESULT_FILE = "result.json"  # of one seed
RESULTS_FILE = "results.json"  # of a run
LIBRARIES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "tensorflow-cpu")


def seed_directory(workdir: Path, category: str, seed: int) -> Path:
    """Where everything lies that one seed made of one category."""
    return workdir / category / f"seed-{seed}"


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all, its directory is made; of several processes one does."""
    if not is_first():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_json(path: Path, value: object) -> None:
    """Writes a value as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def summarize_seeds(results: list[dict]) -> dict:
    """Mean and sample standard deviation over seeds of every metric that all seeds have.

    Args:
      results: one a seed, each with 'metrics'.

    Returns:
      'metrics', 'deviations' (empty with one seed), and the counts of the first.
    """
    metrics, deviations = _mean_and_deviation([result["metrics"] for result in results])
    counts = {name: results[0][name] for name in ("train_images", "test_images", "masks")}
    return counts | {"metrics": metrics, "deviations": deviations, "seeds": results}


def _mean_and_deviation(values: list[dict[str, float]]) -> tuple[dict, dict]:
    names = [name for name in METRICS if all(name in one for one in values)]
    means = {name: float(np.mean([one[name] for one in values])) for name in names}
    if len(values) < 2:
        return means, {}
    return means, {name: float(np.std([one[name] for one in values], ddof=1)) for name in names}


def summarize_run(config: ConfigDict, categories: dict[str, list[dict]]) -> dict:
    """Everything that is known of a run, as written to 'results.json'.

    Args:
      config: the run's configuration.
      categories: the results of every seed, by category.

    Returns:
      Name, protocol, 'categories', 'mean' over the categories, 'deviation' of that mean over the
      seeds, versions, device.
    """
    per_seed = []
    for results in zip(*categories.values(), strict=True):
        means, _ = _mean_and_deviation([result["metrics"] for result in results])
        per_seed.append(means)
    mean, deviation = _mean_and_deviation(per_seed)
    return {
        "name": config.name,
        "protocol": PROTOCOLS[config.protocol],
        "categories": {name: summarize_seeds(results) for name, results in categories.items()},
        "mean": mean,
        "deviation": deviation,
        "config": json.loads(config.to_json()),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        "device": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
    }


def write_run(report: dict, workdir: Path) -> None:
    """Writes a run's results as JSON, CSV and Markdown."""
    write_json(workdir / RESULTS_FILE, report)
    header, rows = results_rows(report)
    write_rows(workdir, header, rows, note=f"In percent. Protocol {report['protocol']}.")


def write_rows(workdir: Path, header: list[str], rows: list[list[str]], *, note: str) -> None:
    """Writes a table as 'results.csv' and 'results.md', in which ``note`` follows the table."""
    write_text(workdir / "results.md", f"{markdown_table(header, rows)}\n\n{note}\n")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(workdir / "results.csv", text.getvalue())
