"""The files that a configuration chooses."""

from ml_collections import ConfigDict

from data.catalog import ALL, Catalog, share_catalogs, unite
from data.images import check_mask_size
from data.readers import read_catalogs
from dtsnet_jax.config import epochs_of, parse_shard


def chosen_catalogs(config: ConfigDict) -> list[Catalog]:
    """Lists the images of the categories that a configuration chooses, its share if it has one.

    Raises:
      UserError: an unknown name or category, a wrong root, missing files, a mask of another size
        than its image (which would otherwise be found only after training).
    """
    catalogs = read_catalogs(
        config.data.name,
        config.data.root,
        config.data.category,
        held_back=config.data.held_back,
    )
    if config.data.shard:
        index, count = parse_shard(config.data.shard)
        catalogs = share_catalogs(catalogs, count, lambda c: epochs_of(config, c.category))[index]
    for catalog in catalogs:
        for sample in catalog.test:
            if sample.mask is not None:
                check_mask_size(sample.mask, sample.path)
    return catalogs


def learned_catalogs(config: ConfigDict, catalogs: list[Catalog]) -> list[Catalog]:
    """What the detector of each category learns: the category, or all of them in one model.

    Raises:
      UserError: the epochs of one are not known.
    """
    learned = [unite(catalogs)] * len(catalogs) if config.data.category == ALL else catalogs
    for catalog in learned:
        epochs_of(config, catalog.category)  # refuses what has none before anything is trained
    return learned
