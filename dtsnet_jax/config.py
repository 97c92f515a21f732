"""Checks a configuration before anything starts, and compares it with that of an earlier run."""

import hashlib
import json
import re

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from configs import default, variants
from data.catalog import ALL
from data.holdback import WAYS
from data.options import MASK_KINDS
from dtsnet_jax.errors import UserError, unknown_name
from dtsnet_jax.model.backbones import get_backbone
from dtsnet_jax.model.dtsnet import BOTTLENECKS

CHOICES = {
    "detector": ("student", "knn"),
    "protocol": ("final", "best_on_test"),
    "precision": ("float32", "bfloat16"),
    "student.bottleneck": tuple(BOTTLENECKS),
    "data.held_back_by": WAYS,
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
    "train.checkpoint_minutes": 0,
    "train.keep_checkpoints": 1,
    "knn.coreset_size": 1,
    "scoring.batch_size": 1,
    "scoring.smoothing": 0.0,
    "student.noise_scale": 0.0,
}
POSITIVE = ("student.temperature", "train.learning_rate", "train.reconstruction_learning_rate")
# Fields that the weights do not depend on; where files lie is among them, for their contents count.
ELSEWHERE = (
    "name",
    "rows",
    "variant",
    "seeds",
    "protocol",
    "encoder.weights",
    "data.root",
    "data.category",
    "data.shard",
    "data.invert_masks",
    "data.textures",
    "data.foreground",
    "train.epochs",
    "train.cache_teacher",
    "train.evaluate_every",
    "train.log_every",
    "train.checkpoint_minutes",
    "train.keep_checkpoints",
    "epochs_by_category.",
    "scoring.",
)
# Of these the following may not change between two starts of the same run nevertheless.
_FIXED = ("name", "variant", "protocol", "data.category", "train.evaluate_every")


def check_config(config: ConfigDict) -> None:
    """Refuses values that cannot work.

    Args:
      config: all fields of ``configs/default.py``.

    Raises:
      UserError: naming the field, its value and what is valid.
    """
    get_backbone(config.encoder.name)
    for field, valid in CHOICES.items():
        if get_field(config, field) not in valid:
            raise unknown_name(field, get_field(config, field), valid)
    for field, least in MINIMA.items():
        if get_field(config, field) < least:
            raise UserError(f"{field} is {get_field(config, field)}, expected {least} or more.")
    for field in POSITIVE:
        if get_field(config, field) <= 0:
            raise UserError(f"{field} is {get_field(config, field)}, expected more than 0.")
    check_divisible("data.image_size", config.data.image_size, 32)
    _check_sequences(config)
    rows_of(config)


def check_devices(config: ConfigDict, devices: int) -> None:
    """Refuses a batch of training that the devices cannot share evenly.

    Raises:
      UserError: naming the nearest sizes that they can.
    """
    group = max(1, config.synthesis.every)  # samples of which the last is synthesised
    check_divisible("train.batch_size", config.train.batch_size, devices * group)


def check_divisible(field: str, size: int, parts: int) -> None:
    """Refuses a number that another does not divide.

    Args:
      field: the configuration field to name.
      size: its value.
      parts: the number that has to divide it.

    Raises:
      UserError: ``parts`` does not divide ``size``; the message has the nearest numbers that do.
    """
    if size % parts:
        below, above = size // parts * parts, -(-size // parts) * parts
        valid = f"{below} or {above}" if below else f"{above}"
        raise UserError(f"{field} is {size}, which {parts} does not divide; set it to {valid}.")


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


def synthesize_every(config: ConfigDict) -> int:
    """The last of how many samples is synthesised; 0 where nothing is."""
    return config.synthesis.every if config.detector == "student" else 0


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


def rows_of(config: ConfigDict) -> dict[str, ConfigDict]:
    """The configuration of each row of a table; empty where there is no table.

    Args:
      config: with ``rows``; whatever else it says holds for all rows that do not change it.

    Raises:
      UserError: a row names no variant, or two rows the same.
    """
    if len(set(config.rows)) != len(config.rows):
        raise UserError(f"rows is {tuple(config.rows)}, expected each variant once.")
    rows = {}
    for variant in config.rows:
        if variant not in variants.VARIANTS:
            raise unknown_name("a row of the table", variant, variants.VARIANTS)
        row = config.copy_and_resolve_references()
        row.rows = ()
        rows[variant] = variants.apply(row, variant)
    return rows


def chosen_categories(config: ConfigDict) -> list[str]:
    """The categories that a configuration names, or those of its data set; [] if neither is known.

    No file is looked at.
    """
    named = [part.strip() for part in config.data.category.split(",") if part.strip()]
    return named if named and named != [ALL] else sorted(config.epochs_by_category)


def flatten(config: ConfigDict) -> dict[str, object]:
    """All fields with dots in their names, as JSON would give them back."""
    return flatten_dict(json.loads(config.to_json()), sep=".")


def training_settings(config: ConfigDict) -> dict[str, object]:
    """The fields that the weights depend on, besides the contents of files and the seed."""
    return {k: v for k, v in flatten(config).items() if not k.startswith(ELSEWHERE)}


def settings_digest(config: ConfigDict) -> str:
    """SHA-256 of ``training_settings``."""
    return _digest(training_settings(config))


def _digest(settings: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def scoring_settings(config: ConfigDict) -> dict[str, object]:
    """The fields that scores depend on beside the weights."""
    scoring = {k: v for k, v in flatten(config).items() if k.startswith("scoring.")}
    for without_effect in ("scoring.batch_size", "scoring.heatmaps"):
        del scoring[without_effect]
    return scoring


def scoring_digest(config: ConfigDict) -> str:
    """SHA-256 of ``scoring_settings``."""
    return _digest(scoring_settings(config))


def find_change(stored: ConfigDict, wanted: ConfigDict) -> tuple[str, object, object] | None:
    """The first field that may not change between two starts of the same run, but did.

    Returns:
      Its name, its stored and its wanted value; None if there is no such field.
    """
    before, now = (
        training_settings(config)
        | {name: get_field(config, name) for name in _FIXED}
        | {"rows": bool(config.rows)}
        for config in (stored, wanted)
    )
    for field in sorted(before.keys() | now.keys()):
        if before.get(field) != now.get(field):
            return field, before.get(field), now.get(field)
    return None


def read_config(settings: dict, source: str) -> ConfigDict:
    """Makes a configuration of what JSON gave back.

    Args:
      settings: nested fields.
      source: the file, for messages.

    Raises:
      UserError: it lacks fields or has others than this version knows.
    """
    free = "epochs_by_category."
    found, expected = (
        {name for name in flatten_dict(fields, sep=".") if not name.startswith(free)}
        for fields in (settings, json.loads(default.get_config().to_json()))
    )
    if found != expected:
        field = sorted(found ^ expected)[0]
        raise UserError(
            f"'{source}' {'has' if field in found else 'lacks'} the field {field}; another version "
            "of this program wrote it: use that one, or start a new run with --workdir=DIR."
        )
    return ConfigDict(settings)
