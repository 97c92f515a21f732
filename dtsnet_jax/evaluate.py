"""The evaluation job: score the test images of a trained run, measure, draw."""

import json
import platform
import time
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from data.catalog import Catalog
from data.images import decode_images, decode_masks
from data.memory import image_bytes, plan_memory
from dtsnet_jax.checkpoints import Checkpoints
from dtsnet_jax.errors import UserError
from dtsnet_jax.inputs import chosen_catalogs
from dtsnet_jax.mesh import split_batch
from dtsnet_jax.metrics import pixel_metrics, ranking_metrics
from dtsnet_jax.report.heatmaps import write_heatmaps
from dtsnet_jax.report.table import METRICS, results_table
from dtsnet_jax.run import Run, build_run, checkpoint_directory
from dtsnet_jax.scoring import image_score
from dtsnet_jax.step import TrainState

RESULTS_FILE = "results.json"


def evaluate(config: ConfigDict, workdir: Path) -> dict:
    """Evaluates the newest checkpoint of every chosen category of a run.

    Args:
      config: the configuration, the run's own or one that differs in ``scoring`` only.
      workdir: the run's directory.

    Returns:
      The results, as written to 'results.json'.

    Raises:
      UserError, DataError: a category has not been trained, or files cannot be used.
    """
    catalogs = chosen_catalogs(config)
    for catalog in catalogs:
        if not checkpoint_directory(workdir, catalog.category).is_dir():
            raise UserError(
                f"'{workdir}' holds no checkpoint of '{catalog.category}'; train it first with "
                "--job=train and the same --workdir."
            )
    run = build_run(config)
    results = {}
    for catalog in catalogs:
        print(catalog.describe())
        checkpoints = Checkpoints(
            checkpoint_directory(workdir, catalog.category), keep=config.train.keep_checkpoints
        )
        state = checkpoints.restore(run.initial_state())
        checkpoints.close()
        if state is None:
            raise UserError(
                f"'{workdir / catalog.category}' holds no complete checkpoint; train it."
            )
        results[catalog.category] = evaluate_category(config, run, state, catalog, workdir)
    return finish(config, results, workdir)


def evaluate_category(
    config: ConfigDict, run: Run, state: TrainState, catalog: Catalog, workdir: Path
) -> dict:
    """Scores and measures one category and writes its heat maps.

    Returns:
      Metrics in [0, 1] (absent where undefined), the thresholds of the largest F1, counts, and
      every test image with its score.
    """
    result = {
        "step": int(state.step),
        "train_images": len(catalog.train),
        "test_images": len(catalog.test),
        "masks": catalog.has_masks,
        "metrics": {},
        "thresholds": {},
        "images": [],
    }
    if not catalog.test:
        return result
    size = config.data.image_size
    count = len(catalog.test)
    plan_memory(
        {
            f"{count} test images": image_bytes(count, size),
            "their score maps": image_bytes(count, size, channels=4),  # float32
            "their masks": image_bytes(count, size, channels=1),
        }
    )
    images = decode_images([s.path for s in catalog.test], size, what="test images")
    started = time.monotonic()
    maps = score_images(run, state, images, batch_size=config.scoring.batch_size)
    result["scoring_seconds"] = round(time.monotonic() - started, 2)
    scores = image_score(maps)
    labels = np.array([sample.label for sample in catalog.test])
    masks = decode_masks(catalog.test, size) if catalog.has_masks else None
    result |= measure(labels, scores, masks, maps)
    result["images"] = [
        {"file": str(sample.path), "defect": sample.defect, "score": float(score)}
        for sample, score in zip(catalog.test, scores, strict=True)
    ]
    if config.scoring.heatmaps:
        directory = workdir / catalog.category / "heatmaps"
        write_heatmaps(directory, catalog.test, images, maps, masks)
    return result


def measure(
    labels: np.ndarray, scores: np.ndarray, masks: np.ndarray | None, maps: np.ndarray
) -> dict[str, dict[str, float]]:
    """Computes every metric that is defined.

    Args:
      labels: (n,) 0 for good, 1 for defective images.
      scores: (n,) image scores.
      masks: (n, h, w) bool, or None.
      maps: (n, h, w) score maps.

    Returns:
      'metrics' in [0, 1] by their names in ``report.table.METRICS``, and 'thresholds'.
    """
    rankings = {"image": ranking_metrics(labels, scores)}
    metrics, thresholds = {}, {}
    pixels = None if masks is None else pixel_metrics(masks, maps)
    if pixels is not None:
        rankings["pixel"] = pixels.ranking
        metrics |= {"pro": pixels.pro, "pro_per_image": pixels.pro_per_image}
    for unit, ranking in rankings.items():
        if ranking is not None:
            metrics[f"{unit}_auroc"] = ranking.auroc
            metrics[f"{unit}_average_precision"] = ranking.average_precision
            metrics[f"{unit}_f1_max"] = ranking.f1_max
            thresholds[unit] = ranking.f1_threshold
    defined = {name: value for name, value in metrics.items() if value is not None}
    return {"metrics": defined, "thresholds": thresholds}


def score_images(run: Run, state: TrainState, images: np.ndarray, *, batch_size: int) -> np.ndarray:
    """Scores images in batches of one shape; the last is filled up and cut.

    Args:
      run: network and steps.
      state: the trained student.
      images: (n, size, size, 3) uint8.
      batch_size: images a step.

    Returns:
      (n, size, size) float32 score maps.
    """
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        missing = batch_size - len(batch)
        filled = np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)])
        on_devices = split_batch({"images": filled}, run.mesh)["images"]
        maps = run.score_step(state.params, state.batch_stats, run.teacher, on_devices)
        parts.append((maps, len(batch)))
    return np.concatenate([np.asarray(maps)[:count] for maps, count in parts])


def finish(config: ConfigDict, results: dict[str, dict], workdir: Path) -> dict:
    """Prints the table and writes 'results.json' with versions and device.

    Returns:
      What was written.
    """
    means = {}
    for name in METRICS:
        values = [result["metrics"].get(name) for result in results.values()]
        if values and None not in values:
            means[name] = float(np.mean(values))
    report = {
        "name": config.name,
        "protocol": "final: the weights after the last step, chosen without the test images",
        "categories": results,
        "mean": means,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
    }
    partial = workdir / f"{RESULTS_FILE}.partial"
    partial.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(workdir / RESULTS_FILE)
    print(results_table(report))
    print(f"results and pictures: {workdir}")
    return report
