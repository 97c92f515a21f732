"""The preview job: a contact sheet of what training will see."""

import itertools
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from data.images import TrainingImages
from data.pipeline import synthesized_samples
from dtsnet_jax.config import synthesize_every
from dtsnet_jax.errors import UserError
from dtsnet_jax.inputs.catalogs import chosen_catalogs, learned_catalogs
from dtsnet_jax.inputs.options import synthesis_options
from dtsnet_jax.inputs.store import Images
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
      UserError: nothing is synthesised, or a file cannot be used.
    """
    if not synthesize_every(config):
        raise UserError(
            f"with synthesis.every={config.synthesis.every} and detector='{config.detector}' "
            "nothing is synthesised; there is no preview."
        )
    images = Images()
    written = []
    catalogs = chosen_catalogs(config)
    for catalog, learns in zip(catalogs, learned_catalogs(config, catalogs), strict=True):
        seen = images.as_learned(config, catalog, learns)
        path = workdir / catalog.category / "preview.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(TITLES, _rows(config, seen.training)).save(path)
        images.forget_categories()
        print(f"{catalog.category}: {path}")
        written.append(path)
    return written


def _rows(config: ConfigDict, images: TrainingImages) -> list[list[np.ndarray | str]]:
    samples = synthesized_samples(
        images,
        synthesize_every=synthesize_every(config),
        options=synthesis_options(config),
        seed=config.seeds[0],
        augmentations=tuple(config.train.augment),
    )
    rows = []
    for sample in itertools.islice(samples, ROWS):
        cells = sample | {"opacity": f"{sample['opacity']:.2f}"}
        rows.append([cells[name] for name in COLUMNS])
    return rows
