"""What a configuration says."""

import json
import re

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from configs import default, variants
from data.catalog import ALL
from data.forms import find_mismatch
from dtsnet_jax.errors import UserError, first_line, unknown_name
from dtsnet_jax.training.schedule import Length


def image_shape(config: ConfigDict) -> tuple[int, int]:
    """Height and width of the images that networks see, in pixels.

    Raises:
      UserError: ``data.image_size`` is neither one number nor two, or less than 32.
    """
    value = config.data.image_size
    sides = tuple(value) if isinstance(value, tuple | list) else (value,)
    if len(sides) not in (1, 2) or not all(type(side) is int and side >= 32 for side in sides):
        raise UserError(
            f"data.image_size is {value}, expected one whole number of 32 or more, or (height, "
            "width)."
        )
    return sides[0], sides[-1]


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
    return config.synthesis.every if config.detector != "knn" else 0


def scores_by_training_images(config: ConfigDict) -> bool:
    """Whether training images set a scale of score maps whenever a detector is loaded."""
    if config.detector != "student":
        return config.detector == "student+knn"
    return config.scoring.weigh_by_length or config.scoring.calibrate


def length_of(config: ConfigDict, category: str) -> Length:
    """How long a category is trained.

    ``train.epochs``, or where that is 0 ``train.visits``, or where that is 0 the data set's list.

    Raises:
      UserError: none of them has a number.
    """
    if config.train.epochs:
        return Length(config.train.epochs, 0)
    if config.train.visits:
        return Length(0, config.train.visits)
    epochs = config.epochs_by_category.get(category, 0)
    if not epochs and config.detector != "knn":
        raise UserError(
            f"train.epochs and train.visits are 0 and epochs_by_category has no entry for "
            f"'{category}'; set --config.train.epochs=N."
        )
    return Length(epochs, 0)


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
    if config.rows and config.variant != "paper":
        raise UserError(
            f"rows is {tuple(config.rows)} but the configuration is the variant "
            f"'{config.variant}', whose settings would be in every row; start from the paper's: "
            "--config=FILE.py:paper."
        )
    if any(config.rows.count(variant) > 1 for variant in config.rows):
        raise UserError(f"rows is {tuple(config.rows)}, expected each variant once.")
    rows = {}
    for variant in config.rows:
        if variant not in tuple(variants.VARIANTS):
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


def read_config(settings: dict, source: str) -> ConfigDict:
    """Makes a configuration of what JSON gave back.

    Args:
      settings: nested fields.
      source: the file, for messages.

    Raises:
      UserError: it lacks fields, or has others or of other types than this version knows.
    """
    free, config = "epochs_by_category.", default.get_config()
    found, expected = (
        {name for name in flatten_dict(fields, sep=".") if not name.startswith(free)}
        for fields in (settings, json.loads(config.to_json()))
    )
    if found != expected:
        field = sorted(found ^ expected)[0]
        raise UserError(
            f"'{source}' {'has' if field in found else 'lacks'} the field {field}; another version "
            "of this program wrote it: use that one, or start a new run with --workdir=DIR."
        )
    return with_settings(config, settings, source)


def with_settings(config: ConfigDict, settings: dict, source: str) -> ConfigDict:
    """Puts what JSON gave back into a configuration.

    Args:
      config: all fields of ``configs/default.py``; changed in place.
      settings: nested fields.
      source: the file, for messages.

    Returns:
      ``config``.

    Raises:
      UserError: this version does not know a field, or it has another type.
    """
    config.lock()
    config.epochs_by_category.unlock()
    try:
        if None in flatten_dict(settings).values():
            raise TypeError("it has a field that is null")
        config.update(settings)
        if mismatch := find_mismatch(config.epochs_by_category.to_dict(), {str: int}):
            raise TypeError(f"of epochs_by_category, {mismatch}")
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise UserError(
            f"'{source}' was written by another version of this program "
            f"({first_line(error)}); use that one, or start a new run with --workdir=DIR."
        ) from error
    config.unlock()
    return config
