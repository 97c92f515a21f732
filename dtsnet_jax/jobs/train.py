"""The training job: a detector for every category and seed, and its evaluation."""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from data.catalog import Catalog
from dtsnet_jax.checks import check_devices
from dtsnet_jax.config import length_of
from dtsnet_jax.detectors.learner import scoring_options
from dtsnet_jax.fingerprint import scoring_digest, settings_digest
from dtsnet_jax.inputs.catalogs import chosen_catalogs, learned_catalogs
from dtsnet_jax.jobs.measuring import measure_seed, scored_from
from dtsnet_jax.jobs.table import Row, Table
from dtsnet_jax.seed_run import SeedRun


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
        if row.config.detector != "knn":
            check_devices(row.config, jax.device_count())
    if any(row.config.train.augment and row.config.train.cache_teacher for row in table.rows):
        print("train.augment is set: the teacher's features are not kept, but computed every step")
    catalogs = chosen_catalogs(config)
    all_learned = learned_catalogs(config, catalogs)
    for catalog in all_learned:  # what has changed is refused before anything is trained
        for row in table.rows:
            for seed in row.config.seeds:
                run = row.trained_in.seed_run(catalog.category, seed)
                if run.trained_step is not None:
                    run.check_unchanged(*_wanted(table, row, catalog))

    def measured(row: Row, catalog: Catalog, learns: Catalog, seed: int) -> dict:
        trained = row.trained_in.seed_run(learns.category, seed)
        images = table.images.as_learned(row.config, catalog, learns)
        if trained.trained_step is None:  # what cannot be used is found before the training
            for part in learns.parts or (catalog,):
                _ = table.images.as_learned(row.config, part, learns).test
                if part is not catalog:
                    table.images.forget_categories()
        made_from, last_step = _train(table, row, learns, trained)
        run = row.run.seed_run(catalog.category, seed)
        with run.measuring():
            result = run.result(
                last_step,
                with_detector=not config.rows,
                weights=made_from,
                **scored_from(row.config, images),
            )
            if result is not None:
                print(f"{row.name}, {run.name}: measured already")
                return result
            return measure_seed(table, row, catalog, learns, seed)

    return table.fill(catalogs, all_learned, measured)


def _train(
    table: Table, row: Row, learns: Catalog, run: SeedRun
) -> tuple[dict[str, str | int | None], int]:
    """Trains what is not trained yet; returns the weights' fingerprint and last step."""
    images = table.images.of(row.config, learns)
    if run.trained_step is None:
        _ = images.training  # files that cannot be used leave nothing behind
    with run.training():
        made_from, last_step = _wanted(table, row, learns)
        run.check_unchanged(made_from, last_step)
        table.run.store_config(table.config)
        row.run.store_config(row.config)
        length = length_of(row.config, learns.category)
        run.begin(made_from, length=length, last_step=last_step, learned=images.learned)
        step = run.trained_step
        if step is not None and step >= last_step:
            print(f"{row.name}, {run.name}: trained already")
        else:
            scoring = scoring_options(row.config)
            table.learner(row).fit(images, run, length=length, scoring=scoring)
    return made_from, last_step


def _wanted(table: Table, row: Row, learns: Catalog) -> tuple[dict[str, str | int | None], int]:
    """The fingerprint of a row's weights, and the step that they are to reach."""
    images = table.images.of(row.config, learns)
    made_from = {
        "settings": settings_digest(row.config),
        **images.made_from(),
        "teacher": table.teacher(row).digest,
    }
    if row.config.protocol == "best_on_test":  # which weights are kept depends on these as well
        made_from |= {"test images": images.test_digest, "scoring": scoring_digest(row.config)}
    length = length_of(row.config, learns.category)
    return made_from, table.learner(row).last_step(images.training_count, length)
