"""The evaluation job: score the test images of trained weights again, measure, draw, save."""

from pathlib import Path

from ml_collections import ConfigDict

from data.catalog import Catalog
from dtsnet_jax.inputs.catalogs import chosen_catalogs, learned_catalogs
from dtsnet_jax.jobs.measuring import measure_seed, trained_record
from dtsnet_jax.jobs.table import Row, Table


def evaluate(config: ConfigDict, workdir: Path) -> dict[str, dict]:
    """Measures the weights of every chosen category and seed again, finished or not.

    Args:
      config: the configuration, the run's own or one that differs in ``scoring`` only.
      workdir: the run's directory.

    Returns:
      The results of each row, of which a single run has one.

    Raises:
      UserError: a category has not been trained, the run has other settings, or files cannot be
        used.
    """
    table = Table(config, workdir)
    catalogs = chosen_catalogs(config)

    def measured(row: Row, catalog: Catalog, learns: Catalog, seed: int) -> dict:
        trained_record(row.trained_in.seed_run(learns.category, seed))  # before anything is written
        with row.run.seed_run(catalog.category, seed).measuring():
            result = measure_seed(table, row, catalog, learns, seed)
        for one in (table, row):  # with the scoring that was asked for
            one.run.store_config(one.config)
        return result

    return table.fill(catalogs, learned_catalogs(config, catalogs), measured)
