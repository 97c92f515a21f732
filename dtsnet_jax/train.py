"""The training job: a detector for every category and seed, and its evaluation."""

import json
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from data.catalog import ALL, Catalog, unite
from dtsnet_jax.config import CONFIG_FILE, check_same_run, epochs_of, store_config
from dtsnet_jax.inputs import CategoryImages, chosen_catalogs, chosen_textures
from dtsnet_jax.measure import evaluate_category
from dtsnet_jax.neighbors import NeighborDetector
from dtsnet_jax.progress import read_records
from dtsnet_jax.report.page import write_page
from dtsnet_jax.report.table import results_text
from dtsnet_jax.results import RESULT_FILE, seed_directory, summarize_run, write_json, write_run
from dtsnet_jax.student import StudentDetector

DETECTORS = {"student": StudentDetector, "knn": NeighborDetector}
Detector = StudentDetector | NeighborDetector


def train(config: ConfigDict, workdir: Path) -> dict:
    """Trains and evaluates every chosen category, continuing where an earlier start stopped.

    Args:
      config: all fields of ``configs/default.py``, checked.
      workdir: the run's directory.

    Returns:
      The results, as written to 'results.json'.

    Raises:
      UserError, DataError: something in the configuration or the files cannot be used.
    """
    check_same_run(config, workdir)
    textures = chosen_textures(config)
    return run_categories(config, workdir, textures)


def run_categories(config: ConfigDict, workdir: Path, textures: np.ndarray | None, **how) -> dict:
    """Runs every chosen category, writes the results and the report.

    A launch that has a share of the categories (``data.shard``) writes those of its categories
    only; the report of all is written by ``dtsnet_jax.merge``.

    Args:
      config, workdir: as for ``train``.
      textures: (t, size, size, 3) uint8, or None where nothing will be synthesised.
      how: passed on to ``run_category``.
    """
    catalogs = chosen_catalogs(config)
    learned = learned_catalogs(config, catalogs)
    detector = DETECTORS[config.detector](config)
    categories = {}
    for catalog, learns in zip(catalogs, learned, strict=True):
        print(catalog.describe())
        categories[catalog.category] = run_category(
            config, detector, catalog, textures, workdir, learns=learns, **how
        )
    return finish_run(config, categories, workdir)


def finish_run(config: ConfigDict, categories: dict[str, list[dict]], workdir: Path) -> dict:
    """Summarizes a run, prints its table, and writes results and report unless it has a share only.

    Args:
      config: the run's configuration.
      categories: the results of every seed, by category.
      workdir: the run's directory.
    """
    report = summarize_run(config, categories)
    print(results_text(report))
    if config.data.shard:
        print("results and report of all shares: --job=report with the same --workdir")
        return report
    write_run(report, workdir)
    print(f"report: {write_page({config.name: report}, {config.name: workdir}, workdir)}")
    return report


def learned_catalogs(config: ConfigDict, catalogs: list[Catalog]) -> list[Catalog]:
    """What the detector of each category learns: the category, or all of them in one model.

    Raises:
      UserError: the epochs of one are not known.
    """
    united = config.data.category == ALL
    learned = [unite(catalogs)] * len(catalogs) if united else catalogs
    for catalog in learned:
        epochs_of(config, catalog.category)  # refuses what has none before anything is trained
    return learned


def run_category(
    config: ConfigDict,
    detector: Detector,
    catalog: Catalog,
    textures: np.ndarray | None,
    workdir: Path,
    *,
    learns: Catalog,
    weights: Path | None = None,
    only_evaluate: bool = False,
) -> list[dict]:
    """Fits and evaluates one category with every seed, or reads the results that are there.

    Args:
      config: the configuration.
      detector: built from it.
      catalog: the category's images.
      textures: (t, size, size, 3) uint8, or None.
      workdir: the run's directory.
      learns: what the detector is trained on, the category's images or those of all.
      weights: the directory of another run whose weights are scored instead of training.
      only_evaluate: score the weights that are there, and even if there are results already.

    Returns:
      The result of every seed, also written to 'CATEGORY/seed-N/result.json'.
    """
    images = CategoryImages(config, catalog, textures)
    learned = images if learns is catalog else CategoryImages(config, learns, textures)
    epochs = epochs_of(config, learns.category)
    settings = result_settings(config, catalog, epochs)
    results = []
    for seed in config.seeds:
        directory = seed_directory(workdir, catalog.category, seed)
        fitted_in = seed_directory(weights or workdir, learns.category, seed)
        result = None if only_evaluate else stored_result(directory / RESULT_FILE, settings)
        if result is not None:
            print(f"{catalog.category}, seed {seed}: measured already")
            results.append(result)
            continue
        if only_evaluate or weights:
            fitted = detector.load(learned, fitted_in)
        else:
            if not (workdir / CONFIG_FILE).is_file():
                _ = learned.training  # files that cannot be used leave nothing behind
            store_config(config, workdir)
            fitted = detector.fit(learned, fitted_in, seed=seed, epochs=epochs)
        pictures = seed == config.seeds[0]
        result = evaluate_category(config, fitted, images, directory, pictures=pictures)
        records = read_records(fitted_in)
        if weights:  # whose metrics during training were scored in another way
            records = [record for record in records if "epoch" not in record]
        result |= {"seed": seed, "settings": settings, "records": records}
        write_json(directory / RESULT_FILE, result)
        results.append(result)
    return results


def result_settings(config: ConfigDict, catalog: Catalog, epochs: int) -> dict:
    """What a result depends on beside the fields that a run may not change."""
    scoring = json.loads(config.to_json())["scoring"]
    del scoring["batch_size"]
    test = [str(sample.path) for sample in catalog.test]
    return {"epochs": epochs, "scoring": scoring, "train_images": len(catalog.train), "test": test}


def stored_result(path: Path, settings: dict) -> dict | None:
    """An earlier result of the same settings, or None."""
    if not path.is_file():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    return result if result["settings"] == settings else None
