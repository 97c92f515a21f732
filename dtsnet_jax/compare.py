"""Several variants side by side, as the rows of one table."""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from dtsnet_jax.config import check_config, check_same_run, flatten, store_config
from dtsnet_jax.inputs import chosen_catalogs, chosen_textures
from dtsnet_jax.report.page import write_page
from dtsnet_jax.report.table import comparison_rows, text_table
from dtsnet_jax.results import summarize_run, write_json, write_rows, write_run
from dtsnet_jax.train import DETECTORS, learned_catalogs, run_category


def compare(
    config: ConfigDict, rows: dict[str, ConfigDict], workdir: Path, *, only_evaluate: bool = False
) -> dict[str, dict]:
    """Trains and evaluates every row, category by category, continuing where it stopped.

    After each category every row has been measured on it, and table and report are written, so
    that an interrupted comparison shows what it has. Rows that differ in ``scoring`` only share
    the weights of the first of them.

    Args:
      config: what all rows have in common.
      rows: the configuration of each.
      workdir: holds one directory a row.
      only_evaluate: score the weights that are there again.

    Returns:
      The results of each row.

    Raises:
      UserError, DataError: something in a configuration or the files cannot be used.
    """
    directories = {name: workdir / name for name in rows}
    for name, row in rows.items():
        check_config(row, devices=jax.device_count())
        check_same_run(row, directories[name])
    catalogs = chosen_catalogs(config)
    learned = {name: learned_catalogs(row, catalogs) for name, row in rows.items()}
    textures = chosen_textures(config)
    detectors = {name: DETECTORS[row.detector](row) for name, row in rows.items()}
    results = {name: {} for name in rows}
    for number, catalog in enumerate(catalogs):
        for name, row in rows.items():
            print(f"{name}: {catalog.describe()}")
            shared = _trained_alike(rows, name)
            results[name][catalog.category] = run_category(
                row,
                detectors[name],
                catalog,
                textures,
                directories[name],
                learns=learned[name][number],
                weights=None if shared == name else directories[shared],
                only_evaluate=only_evaluate,
            )
        store_config(config, workdir)
        reports = finish_comparison(config, rows, results, workdir)
    return reports


def finish_comparison(
    config: ConfigDict, rows: dict[str, ConfigDict], results: dict[str, dict], workdir: Path
) -> dict[str, dict]:
    """Writes results and report of every row and of the table, unless it has a share only.

    Args:
      config, rows, workdir: as for ``compare``.
      results: of every row the results of every seed by category.

    Returns:
      The results of each row.
    """
    directories = {name: workdir / name for name in rows}
    reports = {name: summarize_run(rows[name], results[name]) for name in rows}
    header, cells = comparison_rows(reports)
    protocols = "; ".join(sorted({report["protocol"] for report in reports.values()}))
    print(f"{text_table(header, cells)}\nin percent; protocol {protocols}")
    if config.data.shard:
        print("results and report of all shares: --job=report with the same --workdir")
        return reports
    for name, report in reports.items():
        write_run(report, directories[name])
    write_json(workdir / "results.json", reports)
    write_rows(workdir, header, cells, note=f"In percent. Protocol {protocols}.")
    print(f"report: {write_page(reports, directories, workdir)}")
    return reports


def _trained_alike(rows: dict[str, ConfigDict], name: str) -> str:
    """The first row that is trained exactly as this one."""

    def training(row: ConfigDict) -> dict:
        ignored = ("name", "variant", "scoring.")
        return {k: v for k, v in flatten(row).items() if not k.startswith(ignored)}

    return next(other for other in rows if training(rows[other]) == training(rows[name]))
