"""The ensemble job: the detectors of several seeds become one, which is measured and saved."""

from functools import partial
from pathlib import Path

import jax
from ml_collections import ConfigDict

from data.catalog import Catalog
from dtsnet_jax.detectors.ensemble import join, mean_answer
from dtsnet_jax.detectors.learner import scoring_options
from dtsnet_jax.errors import UserError
from dtsnet_jax.inputs.catalogs import chosen_catalogs, learned_catalogs
from dtsnet_jax.jobs.measuring import Trained, load_trained, store_measured, trained_record
from dtsnet_jax.jobs.table import Row, Table
from dtsnet_jax.seed_run import SeedRun

JOINT = "all"  # takes the place of a seed


def ensemble(config: ConfigDict, workdir: Path) -> dict[str, dict]:
    """Averages the score maps of all seeds of every chosen category, measures and saves that.

    Args:
      config: the configuration, the run's own or one that differs in ``scoring`` only.
      workdir: the run's directory; results, report and detectors go to one beside it, which has
        '-ensemble' at the end of its name.

    Returns:
      The results, by the name of the run.

    Raises:
      UserError: there are not several seeds, one of them has not been trained to its end, the run
        has other settings, or files cannot be used.
    """
    _check(config, workdir)
    table = Table(config, workdir)
    (row,) = table.rows
    catalogs = chosen_catalogs(config)
    learned = learned_catalogs(config, catalogs)
    for learns in learned:  # before anything is written
        for seed in config.seeds:
            _check_finished(row.trained_in.seed_run(learns.category, seed))
    directory = workdir.resolve()
    joint_table = table.joint(directory.with_name(f"{directory.name}-ensemble"), JOINT)
    scoring = scoring_options(config)
    answer = jax.jit(partial(mean_answer, table.learner(row), scoring=scoring))
    joined: dict[str, Trained] = {}

    def measured(joint: Row, catalog: Catalog, learns: Catalog, seed: str) -> dict:
        if learns.category not in joined:
            members = [load_trained(table, row, learns, one) for one in config.seeds]
            joined.clear()
            fitted = join([one.fitted for one in members], answer)
            joined[learns.category] = Trained(fitted, members[0].record, [])
        run = joint.run.seed_run(catalog.category, seed)
        with run.measuring():
            return store_measured(
                joint_table, joint, catalog, run, joined[learns.category], drawn=True
            )

    return joint_table.fill(catalogs, learned, measured)


def _check(config: ConfigDict, workdir: Path) -> None:
    if config.rows:
        raise UserError(
            f"'{workdir}' is a table of {', '.join(config.rows)}; --job=ensemble joins the seeds "
            f"of one of them, as --workdir={workdir / config.rows[0]}."
        )
    if config.data.shard:
        raise UserError(
            f"data.shard is '{config.data.shard}', but --job=ensemble writes one report of all "
            "categories; leave it out."
        )
    if len(config.seeds) < 2:
        raise UserError(
            f"the run '{workdir}' has only the seed {config.seeds[0]}, an ensemble needs several; "
            'train a new one with --config.seeds="(0,1,2)".'
        )


def _check_finished(run: SeedRun) -> None:
    last, step = trained_record(run)["last_step"], run.trained_step or 0
    if run.trained_step is None or step < last:
        raise UserError(
            f"'{run.directory}' is trained to step {step} of {last}; --job=train finishes it."
        )
