"""The preparation job: everything that training would do before its first step, and no more."""

import time

from ml_collections import ConfigDict

from data.catalog import Catalog
from data.images import decode_images, decode_masks
from data.memory import format_bytes, training_bytes
from dtsnet_jax.inputs import chosen_catalogs, chosen_textures, training_images
from dtsnet_jax.report.table import text_table


def prepare(config: ConfigDict) -> str:
    """Fetches and extracts archives, makes foregrounds, and decodes every file once to check it.

    Training afterwards finds archives and foregrounds ready. An interrupted preparation continues
    where it stopped.

    Args:
      config: all fields of ``configs/default.py``, checked.

    Returns:
      The table that was printed: for each category the images, masks and foregrounds, the share of
      the images that is foreground, the seconds it took, and the bytes that training keeps in
      memory.

    Raises:
      DataError: a file is missing or cannot be used; the message names it.
    """
    catalogs = chosen_catalogs(config)
    started = time.monotonic()
    textures = chosen_textures(config)
    rows = []
    if textures is not None:
        seconds = f"{time.monotonic() - started:.1f}"
        rows.append(
            (
                "textures",
                len(textures),
                "",
                "",
                "",
                "",
                seconds,
                format_bytes(training_bytes(len(textures), config.data.image_size)),
            )
        )
    rows += [_prepare_category(config, catalog) for catalog in catalogs]
    header = ("category", "train", "test", "masks", "foregrounds", "covered", "seconds", "memory")
    table = text_table(header, rows)
    print(table)
    return table


def _prepare_category(config: ConfigDict, catalog: Catalog) -> tuple:
    print(catalog.describe())
    started = time.monotonic()
    size = config.data.image_size
    images = training_images(config, catalog, None)
    decode_images([sample.path for sample in catalog.test], size, what="test images")
    masks = 0
    if catalog.has_masks:
        decode_masks(catalog.test, size)
        masks = sum(sample.mask is not None for sample in catalog.test)
    foregrounds, covered = 0, ""
    if images.foreground is not None:
        foregrounds, covered = len(images.foreground), f"{images.foreground.mean():.0%}"
        empty = int((~images.foreground.any((1, 2))).sum())
        if empty:
            print(f"{catalog.category}: {empty} foregrounds are empty; no anomaly falls on these")
    return (
        catalog.category,
        len(catalog.train),
        len(catalog.test),
        masks,
        foregrounds,
        covered,
        f"{time.monotonic() - started:.1f}",
        format_bytes(
            training_bytes(len(catalog.train), size) + training_bytes(foregrounds, size, channels=1)
        ),
    )
