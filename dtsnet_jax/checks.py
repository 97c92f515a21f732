"""Refuses configurations that cannot work, before anything starts."""

from ml_collections import ConfigDict

from data.catalog import ALL
from data.holdback import WAYS
from data.options import AUGMENTATIONS, BIT_DEPTHS, FITS, MASK_KINDS
from dtsnet_jax.config import get_field, image_shape, parse_shard, rows_of
from dtsnet_jax.errors import UserError, unknown_name
from dtsnet_jax.model.backbones import get_backbone
from dtsnet_jax.model.dtsnet import BOTTLENECKS
from dtsnet_jax.prediction.limits import check_rates

CHOICES = {
    "detector": ("student", "knn", "student+knn"),
    "data.fit": FITS,
    "data.held_back_by": WAYS,
    "data.bit_depth": (0, *BIT_DEPTHS),
    "protocol": ("final", "best_on_test"),
    "precision": ("float32", "bfloat16"),
    "student.bottleneck": tuple(BOTTLENECKS),
    "synthesis.opacity_of": ("normal", "texture"),
}
MINIMA = {
    "data.max_megapixels": 0.001,
    "data.tile_size": 0,
    "data.tile_overlap": 0,
    "synthesis.every": 0,
    "train.batch_size": 1,
    "train.epochs": 0,
    "train.visits": 0,
    "train.accumulate": 1,
    "train.evaluate_every": 0,
    "train.log_every": 1,
    "train.checkpoint_minutes": 0,
    "train.keep_checkpoints": 1,
    "knn.coreset_size": 1,
    "scoring.batch_size": 1,
    "scoring.smoothing": 0.0,
    "scoring.measure_at": 32,
    "student.noise_scale": 0.0,
}
WIDEST = 1000.0  # pixels of smoothing
SHARES = ("data.held_back", "data.calibration", "train.average_over", "scoring.top_share")
POSITIVE = ("student.temperature", "train.learning_rate", "train.reconstruction_learning_rate")


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
        if not get_field(config, field) >= least:  # NaN neither
            raise UserError(f"{field} is {get_field(config, field)}, expected {least} or more.")
    for field in POSITIVE:
        if get_field(config, field) <= 0:
            raise UserError(f"{field} is {get_field(config, field)}, expected more than 0.")
    if config.scoring.smoothing > WIDEST:
        raise UserError(
            f"scoring.smoothing is {config.scoring.smoothing}, expected {WIDEST} or less."
        )
    for side in image_shape(config):
        check_divisible("data.image_size", side, 32)
    _check_tiles(config)
    _check_sequences(config)
    check_augmentation(config)
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


def _check_tiles(config: ConfigDict) -> None:
    tile, overlap, shape = config.data.tile_size, config.data.tile_overlap, image_shape(config)
    if overlap and overlap >= tile:
        raise UserError(
            f"data.tile_overlap is {overlap}, expected less than data.tile_size, which is {tile}."
        )
    if tile and shape[0] != shape[1]:
        raise UserError(
            f"data.image_size is {shape} but tiles are square; set it to one number, or "
            "--config.data.tile_size=0."
        )
    if tile and config.data.fit != "stretch":
        raise UserError(
            f"data.fit is '{config.data.fit}', but tiles cover every photograph as it is; set "
            "--config.data.fit=stretch."
        )


def check_augmentation(config: ConfigDict) -> None:
    """Refuses ``train.augment`` where it cannot be applied.

    Raises:
      UserError: it has unknown names or one twice, the detector does not train, or images that are
        not square would be turned by 90°.
    """
    kinds, shape = tuple(config.train.augment), image_shape(config)
    if any(kind not in AUGMENTATIONS or kinds.count(kind) > 1 for kind in kinds):
        raise UserError(f"train.augment is {kinds}, expected some of {AUGMENTATIONS}, each once.")
    if kinds and config.detector == "knn":
        raise UserError(
            f"train.augment is {kinds} but detector is 'knn', which trains nothing; set "
            "--config.train.augment=()."
        )
    if "quarter_turns" in kinds and shape[0] != shape[1]:
        raise UserError(
            f"train.augment has 'quarter_turns', which needs square images, but data.image_size is "
            f"{shape}; leave it out, or set --config.data.image_size to a single number."
        )


def _check_sequences(config: ConfigDict) -> None:
    for field in ("scoring.levels", "knn.levels"):
        levels = tuple(get_field(config, field))
        if not levels or any(levels.count(n) > 1 or n not in (1, 2, 3) for n in levels):
            raise UserError(f"{field} is {levels}, expected some of (1, 2, 3), each once.")
    profile = tuple(config.train.profile)
    if profile and not (len(profile) == 2 and 1 <= profile[0] <= profile[1]):
        raise UserError(
            f"train.profile is {profile}, expected the first and the last step to trace, such as "
            "(20, 25)."
        )
    seeds = tuple(config.seeds)
    whole = all(type(seed) is int and seed >= 0 for seed in seeds)
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
    if not masks or not all(mask in MASK_KINDS for mask in masks):
        raise UserError(f"synthesis.masks is {masks}, expected some of: {', '.join(MASK_KINDS)}.")
    opacity = tuple(config.synthesis.opacity)
    numbers = len(opacity) == 2 and all(type(bound) in (int, float) for bound in opacity)
    if not numbers or not 0 <= opacity[0] <= opacity[1] <= 1:
        raise UserError(
            f"synthesis.opacity is {opacity}, expected a lower and an upper bound in [0, 1]."
        )
    parse_shard(config.data.shard)
    if config.data.shard and config.data.category == ALL:
        raise UserError(
            f"data.shard is '{config.data.shard}' but data.category is 'all', which is one model; "
            "set --config.data.shard= or name categories."
        )
    check_rates(config.threshold.false_alarms, config.threshold.review)
    for field in SHARES:
        if not 0 <= get_field(config, field) < 1:
            raise UserError(f"{field} is {get_field(config, field)}, expected 0 to below 1.")
