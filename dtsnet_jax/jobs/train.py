"""The training job: a detector for every category and seed, and its evaluation."""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from data.catalog import Catalog
from dtsnet_jax.config import check_devices, epochs_of, settings_digest
from dtsnet_jax.detectors.detector import scoring_options
from dtsnet_jax.devices.processes import agreed, wait_for_all
from dtsnet_jax.inputs import CategoryImages, chosen_catalogs, learned_catalogs
from dtsnet_jax.jobs.evaluate import evaluate_seed, scored_from
from dtsnet_jax.jobs.table import Row, Table
from dtsnet_jax.run import SeedRun


def train(config: ConfigDict, workdir: Path) -> dict[str, dict]:
    """Trains and evaluates every row, category and seed, continuing where a start stopped.

    Rows that differ in scoring only share the weights of the first of them.

    Args:
      config: all fields of ``configs/default.py``, checked.
      workdir: the run's directory.

    Returns:
      The results of each row, of which a single run has one.

    Raises:
      UserError: something in the configuration or the files cannot be used.
    """
    table = Table(config, workdir)
    for row in table.rows:
        check_devices(row.config, jax.device_count())
    catalogs = chosen_catalogs(config)
    all_learned = learned_catalogs(config, catalogs)
    for catalog in all_learned:  # what has changed is refused before anything is trained
        for row in table.rows:
            for seed in row.config.seeds:
                run = row.trained_in.seed_run(catalog.category, seed)
                if run.trained_step is not None:
                    run.check_unchanged(*_wanted(table, row, catalog))

    def measured(row: Row, catalog: Catalog, learns: Catalog, seed: int) -> dict:
        run = row.run.seed_run(catalog.category, seed)
        trained = row.trained_in.seed_run(learns.category, seed)
        learned = table.images.of(row.config, learns)
        if trained.trained_step is None:
            _ = learned.training  # files that cannot be used leave nothing behind
        made_from, last_step = _wanted(table, row, learns)
        images = table.images.of(row.config, catalog)
        result = run.result(last_step, weights=made_from, **scored_from(row.config, images))
        if agreed(result is not None):
            print(f"{row.name}, {run.name}: measured already")
            return result
        _fit(table, row, learned, trained, made_from, last_step)
        return evaluate_seed(table, row, catalog, learns, seed)

    return table.fill(catalogs, all_learned, measured)


def _wanted(table: Table, row: Row, learns: Catalog) -> tuple[dict[str, str | None], int]:
    """The fingerprint of a row's weights, and the step that they are to reach."""
    images = table.images.of(row.config, learns)
    made_from = {
        "settings": settings_digest(row.config),
        **images.made_from(),
        "teacher": table.teacher(row).digest,
    }
    epochs = epochs_of(row.config, learns.category)
    return made_from, table.detector(row).last_step(len(learns.train), epochs)


def _fit(
    table: Table,
    row: Row,
    images: CategoryImages,
    run: SeedRun,
    made_from: dict[str, str | None],
    last_step: int,
) -> None:
    """Trains what is not trained yet."""
    if agreed(-1 if run.trained_step is None else run.trained_step) >= last_step:
        print(f"{row.name}, {run.name}: trained already")
        return
    with run.training():
        table.run.store_config(table.config)
        row.run.store_config(row.config)
        run.begin(made_from, last_step)
        wait_for_all("begin")
        table.detector(row).fit(
            images,
            run,
            epochs=epochs_of(row.config, images.catalog.category),
            scoring=scoring_options(row.config),
        )
