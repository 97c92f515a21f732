"""Checks a configuration before anything starts, and compares it with the run it continues."""

import json
import re
from pathlib import Path

from ml_collections import ConfigDict

from data.catalog import ALL
from data.options import MASK_KINDS
from dtsnet_jax.errors import UserError
from dtsnet_jax.mesh import check_divisible
from dtsnet_jax.model.backbones import get_backbone
from dtsnet_jax.model.dtsnet import BOTTLENECKS
from dtsnet_jax.results import write_json

CONFIG_FILE = "config.json"
CHOICES = {
    "detector": ("student", "knn"),
    "protocol": ("final", "best_on_test"),
    "precision": ("float32", "bfloat16"),
    "student.bottleneck": tuple(BOTTLENECKS),
    "synthesis.opacity_of": ("normal", "texture"),
}
MINIMA = {
    "data.image_size": 32,
    "synthesis.every": 0,
    "train.batch_size": 1,
    "train.epochs": 0,
    "train.accumulate": 1,
    "train.evaluate_every": 0,
    "train.log_every": 1,
    "train.checkpoint_every": 1,
    "train.keep_checkpoints": 1,
    "knn.coreset_size": 1,
    "scoring.batch_size": 1,
    "scoring.smoothing": 0.0,
    "student.noise_scale": 0.0,
}
POSITIVE = ("student.temperature", "train.learning_rate", "train.reconstruction_learning_rate")
# Fields that may change between two starts of the same run.
CHANGEABLE = (
    "seeds",
    "data.shard",
    "train.epochs",
    "train.cache_teacher",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "scoring.",
    "epochs_by_category.",
)


def check_config(config: ConfigDict, *, devices: int) -> None:
    """Refuses values that cannot work.

    Args:
      config: all fields of ``configs/default.py``.
      devices: number of devices that share a batch.

    Raises:
      UserError: naming the field, its value and what is valid.
    """
    get_backbone(config.encoder.name)
    for field, valid in CHOICES.items():
        if get_field(config, field) not in valid:
            raise UserError(
                f"{field} is '{get_field(config, field)}', expected one of: {', '.join(valid)}."
            )
    for field, least in MINIMA.items():
        if get_field(config, field) < least:
            raise UserError(f"{field} is {get_field(config, field)}, expected {least} or more.")
    for field in POSITIVE:
        if get_field(config, field) <= 0:
            raise UserError(f"{field} is {get_field(config, field)}, expected more than 0.")
    check_divisible("data.image_size", config.data.image_size, 32)
    group = max(1, config.synthesis.every)  # samples of which the last is synthesised
    check_divisible("train.batch_size", config.train.batch_size, devices * group)
    check_divisible("scoring.batch_size", config.scoring.batch_size, devices)
    _check_sequences(config)


def _check_sequences(config: ConfigDict) -> None:
    for field in ("scoring.levels", "knn.levels"):
        levels = tuple(get_field(config, field))
        if not levels or len(set(levels)) != len(levels) or not set(levels) <= {1, 2, 3}:
            raise UserError(f"{field} is {levels}, expected some of (1, 2, 3), each once.")
    seeds = tuple(config.seeds)
    whole = all(isinstance(seed, int) and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) != len(seeds):
        raise UserError(f"seeds is {seeds}, expected whole numbers from 0 on, each once.")
    if config.protocol == "best_on_test" and config.detector == "knn":
        raise UserError(
            "protocol is 'best_on_test' but detector is 'knn', which has no epochs to choose from; "
            "set --config.protocol=final."
        )
    if config.protocol == "best_on_test" and not config.train.evaluate_every:
        raise UserError(
            "protocol is 'best_on_test' but train.evaluate_every is 0, so there is nothing to "
            "choose from; set --config.train.evaluate_every=10."
        )
    masks = tuple(config.synthesis.masks)
    if not masks or not set(masks) <= set(MASK_KINDS):
        raise UserError(f"synthesis.masks is {masks}, expected some of: {', '.join(MASK_KINDS)}.")
    opacity = tuple(config.synthesis.opacity)
    if len(opacity) != 2 or not 0 <= opacity[0] <= opacity[1] <= 1:
        raise UserError(
            f"synthesis.opacity is {opacity}, expected a lower and an upper bound in [0, 1]."
        )
    parse_shard(config.data.shard)
    if config.data.shard and config.data.category == ALL:
        raise UserError(
            f"data.shard is '{config.data.shard}' but data.category is 'all', which is one model; "
            "set --config.data.shard= or name categories."
        )
    if not 0 <= config.data.held_back < 1:
        raise UserError(f"data.held_back is {config.data.held_back}, expected 0 to below 1.")


def parse_shard(shard: str) -> tuple[int, int]:
    """Splits 'i/n' into (i, n); '' is (0, 1).

    Raises:
      UserError: it is anything else, or i is not in [0, n).
    """
    match = re.fullmatch(r"(\d+)/(\d+)", shard or "0/1")
    if not match or int(match[1]) >= int(match[2]):
        raise UserError(
            f"data.shard is '{shard}', expected 'i/n', the share i from 0 to n-1 of n, such as 0/4."
        )
    return int(match[1]), int(match[2])


def epochs_of(config: ConfigDict, category: str) -> int:
    """The epochs of a category: ``train.epochs``, or where that is 0 the data set's list.

    Raises:
      UserError: neither has a number.
    """
    epochs = config.train.epochs or config.epochs_by_category.get(category, 0)
    if not epochs and config.detector == "student":
        raise UserError(
            f"train.epochs is 0 and epochs_by_category has no entry for '{category}'; set "
            "--config.train.epochs=N."
        )
    return epochs


def get_field(config: ConfigDict, field: str):
    """The value of a field with dots in its name."""
    value = config
    for part in field.split("."):
        value = value[part]
    return value


def flatten(config: ConfigDict) -> dict:
    """All fields with dots in their names, as JSON would give them back."""

    def walk(value, prefix):
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from walk(inner, f"{prefix}{name}.")
        else:
            yield prefix[:-1], value

    return dict(walk(json.loads(config.to_json()), ""))


def check_same_run(config: ConfigDict, workdir: Path) -> None:
    """Compares a configuration with the run that a directory holds, if it holds one.

    Raises:
      UserError: the run has other settings; the message names the first.
    """
    if not (workdir / CONFIG_FILE).is_file():
        return
    wanted, stored = flatten(config), flatten(load_config(workdir))
    for field in sorted(wanted.keys() | stored.keys()):
        if wanted.get(field) != stored.get(field) and not field.startswith(CHANGEABLE):
            raise UserError(
                f"'{workdir}' holds a run with {field}={stored.get(field)!r}, but "
                f"{wanted.get(field)!r} was asked for; start a new run with --workdir=DIR, or "
                "delete the old one."
            )


def store_config(config: ConfigDict, workdir: Path) -> None:
    """Writes the configuration into a run's directory, which is made."""
    write_json(workdir / CONFIG_FILE, json.loads(config.to_json()))


def load_config(workdir: Path) -> ConfigDict:
    """Reads the configuration of an earlier run.

    Raises:
      UserError: the directory holds no run.
    """
    path = workdir / CONFIG_FILE
    if not path.is_file():
        raise UserError(
            f"'{workdir}' holds no run ('{CONFIG_FILE}' is missing); give the --workdir of a run."
        )
    return ConfigDict(json.loads(path.read_text()))
