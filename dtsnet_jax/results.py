"""What results hold, and how those of seeds and categories are averaged."""

import json
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import jax
import numpy as np
from ml_collections import ConfigDict

from dtsnet_jax.report.table import METRICS

PROTOCOLS = {
    "final": "final: the weights that training ended with, chosen without the test images",
    "best_on_test": "BEST ON TEST: of several measurements on the test images the best one is "
    "reported, as in the paper; too optimistic, only for comparison with it",
}
LIBRARIES = (
    "jax", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "tensorflow-cpu", "tensorflow",
)  # fmt: skip


def environment() -> dict[str, object]:
    """Where a result comes from: 'device' and the 'versions' of what is installed."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        with suppress(PackageNotFoundError):  # a Mac has no tensorflow-cpu
            versions[library] = version(library)
    return {
        "device": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
        "versions": versions,
    }


def summarize_seeds(results: list[dict]) -> dict:
    """Mean and sample standard deviation over seeds of every metric that all seeds have.

    Args:
      results: one a seed, each with 'metrics'.

    Returns:
      'metrics', 'deviations' (empty with one seed), and the counts of the first.
    """
    metrics, deviations = _mean_and_deviation([result["metrics"] for result in results])
    counts = {name: results[0][name] for name in ("train_images", "test_images", "masks", "notes")}
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
      seeds, and 'environments', each of those in which something was measured once.
    """
    per_seed = []
    for results in zip(*categories.values(), strict=True):
        means, _ = _mean_and_deviation([result["metrics"] for result in results])
        per_seed.append(means)
    mean, deviation = _mean_and_deviation(per_seed)
    environments = []
    for result in (one for results in categories.values() for one in results):
        if result["environment"] not in environments:
            environments.append(result["environment"])
    return {
        "name": config.name,
        "protocol": PROTOCOLS[config.protocol],
        "categories": {name: summarize_seeds(results) for name, results in categories.items()},
        "mean": mean,
        "deviation": deviation,
        "config": json.loads(config.to_json()),
        "environments": environments,
    }
