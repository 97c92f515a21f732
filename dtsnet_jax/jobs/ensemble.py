"""The ensemble job: the detectors of several seeds become one, which is measured and saved."""

from dataclasses import replace
from pathlib import Path

from ml_collections import ConfigDict

from data.catalog import Catalog
from dtsnet_jax.detectors.ensemble import join
from dtsnet_jax.detectors.learner import scoring_options
from dtsnet_jax.errors import UserError
from dtsnet_jax.inputs.catalogs import chosen_catalogs, learned_catalogs
from dtsnet_jax.jobs.measuring import Trained, load_trained, store_measured, trained_record
from dtsnet_jax.jobs.table import Row, Table
from dtsnet_jax.run import Run

DIRECTORY = "ensemble"  # below the run's


def ensemble(config: ConfigDict, workdir: Path) -> dict[str, dict]:
    """Averages the score maps of all seeds of every chosen category; writes a run of its own.

    Args:
      config: the configuration, the run's own or one that differs in ``scoring`` only.
      workdir: the run's directory; results and detectors go to 'ensemble' below it.

    Returns:
      The results, by the name of the run.

    Raises:
      UserError: there are not several seeds, a category or seed has not been trained, the run has
        other settings, or files cannot be used.
    """
    if config.rows:
        raise UserError(
            f"'{workdir}' is a table of {', '.join(config.rows)}; --job=ensemble joins the seeds "
            f"of one of them, as --workdir={workdir / config.rows[0]}."
        )
    if len(config.seeds) < 2:
        raise UserError(
            f"the run '{workdir}' has only the seed {config.seeds[0]}, an ensemble needs several; "
            'train a new one with --config.seeds="(0,1,2)".'
        )
    table = Table(config, workdir)
    row = _redirect(table, Run(workdir / DIRECTORY))
    catalogs = chosen_catalogs(config)
    learned = learned_catalogs(config, catalogs)
    for learns in learned:  # what is missing is found before anything is written
        for seed in config.seeds:
            trained_record(row.trained_in.seed_run(learns.category, seed))
    row.run.store_config(row.config)
    seeds, results = "+".join(map(str, config.seeds)), {row.name: {}}
    for catalog, learns in zip(catalogs, learned, strict=True):
        print(catalog.describe())
        joint = _join(table, row, learns)
        run = row.run.seed_run(catalog.category, seeds)
        with run.measuring():
            result = store_measured(table, row, catalog, run, joint, drawn=True)
        results[row.name][catalog.category] = [result]
        table.images.forget_categories()
    return table.finish(results)


def _redirect(table: Table, run: Run) -> Row:
    """The only row of a table, whose results are to go to another directory."""
    (trained,) = table.rows
    table.run, table.config = run, ConfigDict(table.config)
    table.config.name = f"{table.config.name}-{DIRECTORY}"
    table.rows = [replace(trained, name=table.config.name, config=table.config, run=run)]
    return table.rows[0]


def _join(table: Table, row: Row, learns: Catalog) -> Trained:
    """All seeds of a category as one."""
    members = [load_trained(table, row, learns, seed) for seed in row.config.seeds]
    fitted = join(table.learner(row), [one.fitted for one in members], scoring_options(row.config))
    record = members[0].record  # what seeds are made from differs in nothing but the seed
    return Trained(fitted, record, [])
