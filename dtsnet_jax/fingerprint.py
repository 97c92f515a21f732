"""What of a configuration weights and scores depend on, and what an earlier run had of it."""

import hashlib
import json

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from dtsnet_jax.config import get_field

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
    "data.region",
    "data.max_megapixels",
    "train.epochs",
    "train.visits",
    "train.cache_teacher",
    "train.evaluate_every",
    "train.log_every",
    "train.profile",
    "train.checkpoint_minutes",
    "train.keep_checkpoints",
    "epochs_by_category.",
    "threshold.",
    "scoring.",
)
# Of these the following name files, of which rows of one table have to have the same.
FILE_FIELDS = ("data.textures", "data.foreground", "data.foreground_model", "data.region")
# Of these the following may not change between two starts of the same run nevertheless.
_FIXED = ("name", "variant", "protocol", "data.category", "train.evaluate_every")


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
