"""The report job: one report of what several launches, each with its share, have finished."""

from pathlib import Path

from ml_collections import ConfigDict

from data.catalog import ALL
from dtsnet_jax.config import chosen_categories, length_of
from dtsnet_jax.errors import UserError
from dtsnet_jax.fingerprint import scoring_settings
from dtsnet_jax.jobs.table import Results, Row, Table
from dtsnet_jax.seed_run import SeedRun


def report(config: ConfigDict, workdir: Path) -> dict[str, dict]:
    """Writes results and report of every category that has been measured with every seed.

    No image is read and nothing is computed anew. Categories that are not finished are named.

    Args:
      config: the run's configuration.
      workdir: the run's directory.

    Returns:
      The results of each row, of which a single run has one.

    Raises:
      UserError: no category is finished.
    """
    config.data.shard = ""  # of all launches
    table = Table(config, workdir)
    results: Results = {row.name: {} for row in table.rows}
    one_model = config.data.category == ALL
    found = {category for row in table.rows for category in row.run.categories}
    if one_model and ALL in found:
        found = found - {ALL} | set(chosen_categories(config))
    for category in sorted(found):
        learns = ALL if one_model else category
        several = {row.name: _finished(row, category, learns) for row in table.rows}
        missing = [run.name for one in several.values() for run, result in one if result is None]
        if missing:
            print(f"left out, not finished: {missing[0]}")
            continue
        for name, one in several.items():
            results[name][category] = [result for _, result in one]
    if not results[table.rows[0].name]:
        raise UserError(
            f"'{workdir}' holds no finished category; train it first with --job=train and the same "
            "--workdir."
        )
    absent = [category for category in chosen_categories(config) if category not in found]
    if absent:
        print(f"not begun: {', '.join(absent)}")
    return table.finish(results)


def _finished(row: Row, category: str, learns: str) -> list[tuple[SeedRun, dict | None]]:
    """For every seed its result, None unless it is that of finished weights, scored as asked."""
    results = []
    for seed in row.config.seeds:
        run, trained = row.run.seed_run(category, seed), row.trained_in.seed_run(learns, seed)
        record = trained.record()
        result = None
        if record and record["length"] == length_of(row.config, learns)._asdict():
            result = run.result(
                record["last_step"],
                weights=record["made_from"],
                protocol=row.config.protocol,
                scoring=scoring_settings(row.config),
            )
        results.append((run, result))
    return results
