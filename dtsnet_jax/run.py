"""A run's directory: where everything lies, how far it has come, and what it was made from.

WORKDIR/config.json                       settings
WORKDIR/results.{json,csv,md}             of all categories
WORKDIR/report.html
WORKDIR/CATEGORY/seed-N/made_from.json    fingerprint of the weights, the step they are to reach
WORKDIR/CATEGORY/seed-N/checkpoints/STEP  (bank.npz of the nearest neighbours)
WORKDIR/CATEGORY/seed-N/best/STEP         of the protocol 'best_on_test'
WORKDIR/CATEGORY/seed-N/metrics.jsonl     and TensorBoard's events
WORKDIR/CATEGORY/seed-N/result.json       and the pictures: gallery/, heatmaps/
WORKDIR/CATEGORY/seed-N/detector.safetensors  what scores new photographs
WORKDIR-ensemble                          results and detectors of all seeds together
WORKDIR/.locks                            keeps launches from disturbing each other
"""

import json
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from data.files import locked, read_json
from dtsnet_jax.config import read_config
from dtsnet_jax.devices.processes import from_first, is_first
from dtsnet_jax.errors import UserError
from dtsnet_jax.fingerprint import find_change
from dtsnet_jax.seed_run import ADVICE, SeedRun, write_json

CONFIG_FILE = "config.json"
CONFIG_FORM = {"seeds?": [int], "threshold?": {"false_alarms": float, "review": float}}


@dataclass(frozen=True)
class Run:
    """A directory with one result for each category and seed.

    Attributes:
      directory: where it lies.
    """

    directory: Path

    def seed_run(self, category: str, seed: int | str) -> SeedRun:
        """What one seed makes of one category."""
        return SeedRun(self.directory, category, seed)

    @property
    def categories(self) -> list[str]:
        """The categories that something has been trained or measured of, finished or not."""
        files = [*self.directory.glob("*/seed-*/made_from.json")]
        files += self.directory.glob("*/seed-*/result.json")
        return sorted({file.parts[-3] for file in files})

    @property
    def has_weights(self) -> bool:
        """Whether anything has been trained here."""
        return from_first(lambda: any(self.directory.glob("*/seed-*/made_from.json")))

    def config(self) -> ConfigDict:
        """The settings of the run.

        Raises:
          UserError: the directory holds no run, or one of another version.
        """
        path = self.directory / CONFIG_FILE
        stored = read_json(path, CONFIG_FORM)
        if stored is None:
            raise UserError(
                f"'{self.directory}' holds no run ('{CONFIG_FILE}' is missing); give the --workdir "
                "of a run."
            )
        return read_config(stored, str(path))

    def check_same(self, config: ConfigDict) -> None:
        """Compares settings with those of the run, if there is one already.

        Raises:
          UserError: the run has others; the message names the first.
        """
        if not (self.directory / CONFIG_FILE).is_file():
            return
        change = find_change(self.config(), config)
        if change is not None:
            field, stored, wanted = change
            raise UserError(
                f"'{self.directory}' holds a run with {field}={stored!r}, but {wanted!r} was asked "
                f"for; {ADVICE}."
            )

    def store_config(self, config: ConfigDict) -> None:
        """Writes the settings of all launches: the share of one of them is left out.

        Raises:
          UserError: another launch has stored other settings meanwhile.
        """
        if not is_first():
            return
        settings = json.loads(config.to_json())
        settings["data"]["shard"] = ""
        path = self.directory / CONFIG_FILE
        with locked(path):
            self.check_same(config)
            if read_json(path, CONFIG_FORM) != settings:
                write_json(path, settings)
