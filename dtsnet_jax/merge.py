"""The report job: one report of what several launches, each with its share, have finished."""

import json
from pathlib import Path

from ml_collections import ConfigDict

from dtsnet_jax.compare import finish_comparison
from dtsnet_jax.errors import UserError
from dtsnet_jax.results import RESULT_FILE, seed_directory
from dtsnet_jax.train import finish_run


def merge(config: ConfigDict, rows: dict[str, ConfigDict], workdir: Path) -> dict:
    """Writes results and report of every category that has been measured with every seed.

    No image is read and nothing is computed anew. Categories that are not finished are named.

    Args:
      config: the run's configuration.
      rows: of a table the configuration of each row, else empty.
      workdir: the run's directory.

    Returns:
      The results, or of a table the results of each row.

    Raises:
      UserError: no category is finished.
    """
    config.data.shard = ""
    directories = [workdir / name for name in rows] if rows else [workdir]
    found = sorted({path.parts[-3] for d in directories for path in d.glob(f"*/*/{RESULT_FILE}")})
    results = {d: {} for d in directories}
    for category in found:
        files = {
            d: [seed_directory(d, category, seed) / RESULT_FILE for seed in config.seeds]
            for d in directories
        }
        missing = [file for several in files.values() for file in several if not file.is_file()]
        if missing:
            print(f"{category}: left out, not finished ('{missing[0]}' does not exist)")
            continue
        for directory, several in files.items():
            results[directory][category] = [
                json.loads(file.read_text(encoding="utf-8")) for file in several
            ]
    if not results[directories[0]]:
        raise UserError(
            f"'{workdir}' holds no finished category; train it first with --job=train and the same "
            "--workdir."
        )
    absent = sorted(set(config.epochs_by_category) - set(found))
    if absent:
        print(f"not begun: {', '.join(absent)}")
    if rows:
        named = dict(zip(rows, results.values(), strict=True))
        return finish_comparison(config, rows, named, workdir)
    return finish_run(config, results[workdir], workdir)
