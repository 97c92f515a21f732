"""What a configuration says about images, carried out: catalogs, textures, training images."""

import numpy as np
from ml_collections import ConfigDict

from data.catalog import Catalog
from data.foreground import load_foregrounds
from data.images import check_mask_size, decode_images
from data.memory import plan_memory, training_bytes
from data.options import SynthesisOptions
from data.pipeline import TrainingImages
from data.readers import read_catalogs
from data.textures import load_textures


def chosen_catalogs(config: ConfigDict) -> list[Catalog]:
    """Lists the images of the categories that a configuration chooses.

    Raises:
      DataError: an unknown name or category, a wrong root, missing files, a mask of another size
        than its image (which would otherwise be found only after training).
    """
    catalogs = read_catalogs(
        config.data.name,
        config.data.root,
        config.data.category,
        held_back=config.data.held_back,
    )
    for catalog in catalogs:
        for sample in catalog.test:
            if sample.mask is not None:
                check_mask_size(sample.mask, sample.path)
    return catalogs


def chosen_textures(config: ConfigDict) -> np.ndarray | None:
    """Decodes the textures, or returns None where nothing is synthesised.

    Returns:
      (t, size, size, 3) uint8.

    Raises:
      DataError: there are none, or a file cannot be used.
    """
    if not config.synthesis.every:
        return None
    return load_textures(
        config.data.textures, config.data.image_size, gray=config.synthesis.gray_textures
    )


def training_images(
    config: ConfigDict, catalog: Catalog, textures: np.ndarray | None
) -> TrainingImages:
    """Decodes the training images of a category and gets their foregrounds.

    Raises:
      DataError: a file cannot be used, or all would not fit into memory.
    """
    count, size = len(catalog.train), config.data.image_size
    method = config.data.foreground if config.synthesis.every else "none"
    plan_memory(
        {
            f"{count} training images": training_bytes(count, size),
            "their foregrounds": 0
            if method == "none" or catalog.texture
            else training_bytes(count, size, channels=1),
        }
    )
    normal = decode_images([s.path for s in catalog.train], size, what="training images")
    foreground = load_foregrounds(catalog, method, size, model=config.data.foreground_model)
    return TrainingImages(normal, foreground, textures)


def synthesis_options(config: ConfigDict) -> SynthesisOptions:
    """How anomalies are drawn."""
    return SynthesisOptions(
        masks=tuple(config.synthesis.masks),
        opacity=tuple(config.synthesis.opacity),
        opacity_of=config.synthesis.opacity_of,
    )
