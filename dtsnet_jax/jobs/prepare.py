"""The preparation job: everything that training would do before its first step, and no more."""

import time
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from data.catalog import Catalog
from data.memory import format_bytes, training_bytes
from dtsnet_jax.config import image_shape, rows_of
from dtsnet_jax.inputs.catalogs import chosen_catalogs, learned_catalogs
from dtsnet_jax.inputs.store import Images
from dtsnet_jax.report.table import text_table


def prepare(config: ConfigDict, workdir: Path | None = None) -> str:
    """Fetches and extracts archives, makes foregrounds, and decodes every file once to check it.

    Training afterwards finds archives and foregrounds ready. An interrupted preparation continues
    where it stopped.

    Args:
      config: all fields of ``configs/default.py``, checked.
      workdir: not used; what is made serves all runs.

    Returns:
      The table that was printed: for each category the images, masks and foregrounds, the share of
      the images that is foreground, the seconds it took, and the bytes that training keeps in
      memory.

    Raises:
      UserError: a file is missing or cannot be used; the message names it.
    """
    del workdir
    images = Images()
    catalogs = chosen_catalogs(config)
    started = time.monotonic()
    lines = []
    variants = list(rows_of(config).values()) or [config]
    all_textures = {id(t): t for row in variants if (t := images.textures(row)) is not None}
    for textures in all_textures.values():
        memory = format_bytes(training_bytes(len(textures), image_shape(config)))
        seconds = f"{time.monotonic() - started:.1f}"
        lines.append(("textures", len(textures), "", "", "", "", seconds, memory))
    for catalog, learns in zip(catalogs, learned_catalogs(config, catalogs), strict=True):
        print(catalog.describe())
        lines += [_prepare_category(row, catalog, learns, images) for row in variants]
        images.forget_categories()
    header = ("category", "train", "test", "masks", "foregrounds", "covered", "seconds", "memory")
    table = text_table(header, list(dict.fromkeys(lines)))
    print(table)
    return table


def _prepare_category(
    config: ConfigDict, catalog: Catalog, learns: Catalog, store: Images
) -> tuple:
    started = time.monotonic()
    images = store.as_learned(config, catalog, learns)
    training, _ = images.training, images.test
    masks = sum(bool(sample.masks) for sample in catalog.test)
    foregrounds, covered = 0, ""
    if training.foreground is not None:
        foregrounds, covered = len(training.foreground), f"{_share(training.foreground):.0%}"
        empty = int((~training.foreground.any((1, 2))).sum())
        if empty:
            print(f"{catalog.category}: {empty} foregrounds are empty; no anomaly falls on these")
    size = image_shape(config)
    memory = training_bytes(len(training.normal), size)
    memory += training_bytes(foregrounds, size, channels=1)
    return (
        catalog.category,
        len(training.normal),
        len(catalog.test),
        masks,
        foregrounds,
        covered,
        f"{time.monotonic() - started:.1f}",
        format_bytes(memory),
    )


def _share(foreground: np.ndarray) -> float:
    """What part of all images is foreground."""
    return foreground.mean() / (1 if foreground.dtype == bool else 255)
