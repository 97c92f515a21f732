"""The files that a configuration chooses."""

from dataclasses import replace

from ml_collections import ConfigDict

from data.catalog import ALL, Catalog, share_catalogs, unite
from data.holdback import has_groups, hold_back
from data.masks import inspect_masks
from data.readers import read_catalogs
from dtsnet_jax.config import length_of, parse_shard
from dtsnet_jax.inputs.leaks import shared_files
from dtsnet_jax.prediction.limits import MINIMUM


def chosen_catalogs(config: ConfigDict) -> list[Catalog]:
    """Lists the images of the categories that a configuration chooses, its share if it has one.

    Raises:
      UserError: an unknown name or category, a wrong root, missing files, a mask that cannot be
        used (which would otherwise be found only after training).
    """
    catalogs = listed_catalogs(config)
    if config.data.shard:
        index, count = parse_shard(config.data.shard)

        def visits(catalog: Catalog) -> int:
            return length_of(config, catalog.category).images_seen(len(catalog.train))

        catalogs = share_catalogs(catalogs, count, visits)[index]
    return [_inspected(catalog, config) for catalog in catalogs]


def listed_catalogs(config: ConfigDict) -> list[Catalog]:
    """Lists the images of all categories that are chosen; nothing is opened.

    Raises:
      UserError: an unknown name or category, a wrong root, missing files.
    """
    catalogs = read_catalogs(
        config.data.name,
        config.data.root,
        config.data.category,
        held_back=config.data.held_back,
        held_back_by=config.data.held_back_by,
    )
    return [_calibrated(catalog, config) for catalog in catalogs]


def _calibrated(catalog: Catalog, config: ConfigDict) -> Catalog:
    """The same category with a share of its training images kept for calibration.

    At least as many as limits need, unless that is more than a fifth of the images: then none, for
    fewer are of no use. Whole groups if they are held back for testing so, unless one is left.
    """
    share, by, count = config.data.calibration, config.data.held_back_by, len(catalog.train)
    if not share:
        return catalog
    if share * count < MINIMUM:
        if count < 5 * MINIMUM:
            note = (
                f"no image is kept for calibration: data.calibration={share} of {count} training "
                f"images is fewer than the {MINIMUM} that limits need, so nothing will be called NG"
            )
            return replace(catalog, notes=(*catalog.notes, note))
        share = MINIMUM / count
    if by == "group" and not has_groups(catalog.train):
        by = "spread"
    train, kept = hold_back(catalog.train, share, by, field="data.calibration")
    return replace(catalog, train=tuple(train), calibration=tuple(kept))


def _inspected(catalog: Catalog, config: ConfigDict) -> Catalog:
    """The same category with notes on its masks and on what is in more than one split."""
    train, calibration, test = (
        [sample.path for sample in some]
        for some in (catalog.train, catalog.calibration, catalog.test)
    )
    notes = inspect_masks(catalog.test, invert=config.data.invert_masks)
    notes += shared_files(train, test, "test")
    notes += shared_files(train, calibration, "calibration")
    return replace(catalog, notes=(*catalog.notes, *notes))


def learned_catalogs(config: ConfigDict, catalogs: list[Catalog]) -> list[Catalog]:
    """What the detector of each category learns: the category, or all of them in one model.

    Raises:
      UserError: how long one is trained is not known.
    """
    learned = [unite(catalogs)] * len(catalogs) if config.data.category == ALL else catalogs
    for catalog in learned:
        length_of(config, catalog.category)  # refuses what has none before anything is trained
    return learned
