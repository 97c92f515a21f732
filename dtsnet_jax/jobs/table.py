"""A table of variants, side by side, category by category; a single run is a table of one row."""

import csv
import io
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

from ml_collections import ConfigDict

from configs.variants import VARIANTS
from data.catalog import Catalog
from data.files import remove_abandoned, write_text
from dtsnet_jax.checks import check_config
from dtsnet_jax.config import get_field, rows_of
from dtsnet_jax.detectors.fitted import Learner
from dtsnet_jax.detectors.learner import build_learner, compute_dtype
from dtsnet_jax.devices.processes import is_first
from dtsnet_jax.fingerprint import FILE_FIELDS, scoring_settings, training_settings
from dtsnet_jax.inputs.store import Images
from dtsnet_jax.report.page import write_page
from dtsnet_jax.report.table import (
    comparison_note,
    comparison_rows,
    comparison_text,
    markdown_table,
    notes,
    results_rows,
    results_text,
)
from dtsnet_jax.results import summarize_run
from dtsnet_jax.run import Run
from dtsnet_jax.seed_run import write_json
from dtsnet_jax.weights.teacher import Teacher, load_teacher

Results = dict[str, dict[str, list[dict]]]  # of every row, by category, the result of every seed


@dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
      name: what the table calls it.
      config: its configuration.
      run: its directory.
      trained_in: where its weights lie, which is another row's directory if that one is trained
        alike and differs in scoring only.
      seeds: what there is a result of for each category.
    """

    name: str
    config: ConfigDict
    run: Run
    trained_in: Run
    seeds: tuple[int | str, ...]


class Table:
    """The rows of a table and what they share: teachers, compiled programs, decoded images.

    Attributes:
      config: what all rows have in common.
      run: the directory of the table.
      rows: the variants; of a single run one, whose directory is the table's.
      images: the decoded images.
    """

    def __init__(self, config: ConfigDict, workdir: Path):
        """Opens a table; nothing is read but the settings of earlier starts.

        Raises:
          UserError: a row's configuration cannot work, or the directory holds other settings.
        """
        self.config, self.run, self.images = config, Run(workdir), Images()
        self.rows: list[Row] = []
        for name, row in (rows_of(config) or {config.name: config}).items():
            check_config(row)
            run = Run(workdir / name) if config.rows else self.run
            self.rows.append(Row(name, row, run, run, tuple(row.seeds)))
        self.rows = [replace(row, trained_in=self._trained_in(row)) for row in self.rows]
        if config.rows:
            self.run.check_same(config)
        for row in self.rows:
            row.run.check_same(row.config)
        self._teachers: dict[tuple, Teacher] = {}
        self._learners: dict[Path, Learner] = {}

    def _trained_in(self, row: Row) -> Run:
        """Of the rows that are trained alike the first, or an earlier start's choice among them."""
        alike = [other.run for other in self.rows if _trained_alike(other.config, row.config)]
        return next((run for run in alike if run.has_weights), alike[0])

    def joint(self, directory: Path, seed: str) -> "Table":
        """The same with one result in place of those of all seeds, in another directory.

        Args:
          directory: where results go.
          seed: what that result goes by.
        """
        table = copy(self)
        table.config = ConfigDict(self.config)
        table.config.name, table.run = directory.name, Run(directory)
        own = {"name": directory.name, "config": table.config, "run": table.run, "seeds": (seed,)}
        table.rows = [replace(row, **own) for row in self.rows]
        return table

    def learner(self, row: Row) -> Learner:
        """What learns a row; rows that are trained alike have the same one.

        Raises:
          UserError: the teacher's weights are missing or unusable.
        """
        key = row.trained_in.directory
        if key not in self._learners:
            self._learners[key] = build_learner(row.config, self.teacher(row))
        return self._learners[key]

    def teacher(self, row: Row) -> Teacher:
        """The teacher of a row; rows with the same encoder have the same one.

        Raises:
          UserError: its weights are missing or unusable.
        """
        encoder, dtype = row.config.encoder, compute_dtype(row.config)
        key = (encoder.name, encoder.weights, dtype)
        if key not in self._teachers:
            self._teachers[key] = load_teacher(encoder.name, encoder.weights, dtype=dtype)
        return self._teachers[key]

    def fill(
        self,
        catalogs: list[Catalog],
        learned: list[Catalog],
        measured: Callable[[Row, Catalog, Catalog, int | str], dict],
    ) -> dict[str, dict]:
        """Goes through all categories, rows and seeds; writes what there is after each category.

        Args:
          catalogs: the categories.
          learned: what the detector of each learns.
          measured: the result of a row, a category, what is learned for it, and a seed.

        Returns:
          What ``finish`` does.
        """
        if is_first():
            for run in {self.run, *(row.run for row in self.rows)}:
                remove_abandoned(run.directory)
        for row in self.rows if self.config.rows else ():  # whatever the command says of these
            fields = [f"{field}={value}" for field, value in VARIANTS[row.name].items()]
            print(f"row {row.name} sets {', '.join(fields) or 'nothing'}")
        results: Results = {row.name: {} for row in self.rows}
        for number, (catalog, learns) in enumerate(zip(catalogs, learned, strict=True), start=1):
            print(catalog.describe())
            for row in self.rows:
                results[row.name][catalog.category] = [
                    measured(row, catalog, learns, seed) for seed in row.seeds
                ]
            self.images.forget_categories()
            if number < len(catalogs):
                self.write(results)
        return self.finish(results)

    def finish(self, results: Results) -> dict[str, dict]:
        """Writes results and report, and prints the table; of several processes the first does.

        Returns:
          The results of each row; {} on the other processes.
        """
        if not is_first():
            return {}
        reports = self._summarize(results)
        if self.config.rows:
            print(comparison_text(reports))
        else:
            print(results_text(reports[self.config.name]))
        page = self.write(results)
        if page is None:
            print("results and report of all shares: --job=report with the same --workdir")
        else:
            print(f"report: {page}")
        return reports

    def write(self, results: Results) -> Path | None:
        """Writes results and report, unless this launch has only a share of the categories.

        Returns:
          The report, or None if nothing was written.
        """
        if self.config.data.shard or not is_first():
            return None
        reports = self._summarize(results)
        for row in self.rows:
            report = reports[row.name]
            note = "\n".join([f"In percent. Protocol {report['protocol']}.", *notes(report)])
            _write_results(row.run.directory, report, *results_rows(report), note)
        directories = {row.name: row.run.directory for row in self.rows}
        if self.config.rows:
            note = comparison_note(reports)
            _write_results(self.run.directory, reports, *comparison_rows(reports), note)
        return write_page(reports, directories, self.run.directory)

    def _summarize(self, results: Results) -> dict[str, dict]:
        return {row.name: summarize_run(row.config, results[row.name]) for row in self.rows}


def _trained_alike(one: ConfigDict, other: ConfigDict) -> bool:
    """Whether two rows of a table have the same weights; they differ in scoring and names then."""
    same_best = one.protocol == other.protocol and (
        one.protocol == "final" or scoring_settings(one) == scoring_settings(other)
    )
    same_files = all(get_field(one, f) == get_field(other, f) for f in FILE_FIELDS)
    return same_best and same_files and training_settings(one) == training_settings(other)


def _write_results(
    directory: Path, results: dict, header: list[str], rows: list[list[str]], note: str
) -> None:
    """Writes 'results.json' and a table as 'results.csv' and 'results.md', where a note follows."""
    write_json(directory / "results.json", results)
    write_text(directory / "results.md", f"{markdown_table(header, rows)}\n\n{note}\n")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(directory / "results.csv", text.getvalue())
