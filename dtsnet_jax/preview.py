"""The preview job: a contact sheet of what training will see."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from data.pipeline import TrainingImages, sample_function
from dtsnet_jax.errors import UserError
from dtsnet_jax.inputs import chosen_catalogs, chosen_textures, synthesis_options, training_images
from dtsnet_jax.report.contact_sheet import contact_sheet

ROWS = 8
COLUMNS = ("normal", "foreground", "first", "second", "mask", "texture", "opacity", "synthetic")
TITLES = ("normal", "foreground M_f", "M_1", "M_2", "M", "texture", "opacity", "synthetic")


def preview(config: ConfigDict, workdir: Path) -> list[Path]:
    """Writes one contact sheet a category: the first synthesised samples of training.

    Args:
      config: all fields of ``configs/default.py``, checked.
      workdir: the run's directory.

    Returns:
      The written files, 'CATEGORY/preview.png'.

    Raises:
      UserError: nothing is synthesised.
      DataError: a file cannot be used.
    """
    if not config.synthesis.every:
        raise UserError("synthesis.every is 0, so nothing is synthesised; there is no preview.")
    catalogs = chosen_catalogs(config)
    textures = chosen_textures(config)
    written = []
    for catalog in catalogs:
        images = training_images(config, catalog, textures)
        path = workdir / catalog.category / "preview.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(TITLES, _rows(config, images)).save(path)
        print(f"{catalog.category}: {path}")
        written.append(path)
    return written


def _rows(config: ConfigDict, images: TrainingImages) -> list[list[np.ndarray | str]]:
    draw = sample_function(images, options=synthesis_options(config), seed=config.seeds[0])
    every = config.synthesis.every
    positions = tf.data.Dataset.range(every - 1, ROWS * every, every)
    rows = []
    for sample in positions.map(lambda position: draw(position, synthesized=True)):
        cells = {name: value.numpy() for name, value in sample.items()}
        cells["opacity"] = f"{cells['opacity']:.2f}"
        rows.append([cells[name] for name in COLUMNS])
    return rows
