"""What a configuration says about images, carried out: catalogs, textures, decoded images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ml_collections import ConfigDict

from data.catalog import Catalog
from data.foreground import load_foregrounds
from data.images import check_mask_size, decode_images, decode_masks
from data.memory import image_bytes, plan_memory, training_bytes
from data.options import SynthesisOptions
from data.pipeline import TrainingImages
from data.readers import read_catalogs
from data.textures import load_textures
from dtsnet_jax.config import epochs_of, parse_shard
from dtsnet_jax.errors import UserError


def chosen_catalogs(config: ConfigDict) -> list[Catalog]:
    """Lists the images of the categories that a configuration chooses, its share if it has one.

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
    if config.data.shard:
        index, count = parse_shard(config.data.shard)
        catalogs = share_catalogs(catalogs, count, lambda c: epochs_of(config, c.category))[index]
    for catalog in catalogs:
        for sample in catalog.test:
            if sample.mask is not None:
                check_mask_size(sample.mask, sample.path)
    return catalogs


def share_catalogs(
    catalogs: Sequence[Catalog], count: int, epochs: Callable[[Catalog], int]
) -> list[list[Catalog]]:
    """Deals categories out to ``count`` launches of about equal length.

    The longest ones are dealt first, each to the launch that has the least to do so far; the
    length of a category is its number of image visits, epochs times training images.

    Raises:
      UserError: there are more launches than categories.
    """
    if count > len(catalogs):
        raise UserError(
            f"data.shard asks for {count} shares of {len(catalogs)} categories; use at most "
            f"{len(catalogs)} shares."
        )
    visits = {c.category: epochs(c) * len(c.train) for c in catalogs}
    shares, totals = [set() for _ in range(count)], [0] * count
    for catalog in sorted(catalogs, key=lambda c: -visits[c.category]):
        least = totals.index(min(totals))
        shares[least].add(catalog.category)
        totals[least] += visits[catalog.category]
    return [[c for c in catalogs if c.category in share] for share in shares]


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
            if method == "none" or all(part.texture for part in catalog.parts or (catalog,))
            else training_bytes(count, size, channels=1),
        }
    )
    normal = decode_images([s.path for s in catalog.train], size, what="training images")
    return TrainingImages(normal, _foregrounds(config, catalog, method), textures)


def _foregrounds(config: ConfigDict, catalog: Catalog, method: str) -> np.ndarray | None:
    size = config.data.image_size
    parts = [
        (len(part.train), load_foregrounds(part, method, size, model=config.data.foreground_model))
        for part in catalog.parts or (catalog,)
    ]
    if all(masks is None for _, masks in parts):
        return None
    return np.concatenate(
        [np.ones((n, size, size), bool) if masks is None else masks for n, masks in parts]
    )


def synthesis_options(config: ConfigDict) -> SynthesisOptions:
    """How anomalies are drawn."""
    return SynthesisOptions(
        masks=tuple(config.synthesis.masks),
        opacity=tuple(config.synthesis.opacity),
        opacity_of=config.synthesis.opacity_of,
    )


@dataclass(frozen=True)
class TestImages:
    """The decoded test images of a category.

    Attributes:
      catalog: where they come from.
      images: (n, size, size, 3) uint8.
      masks: (n, size, size) bool, or None where there is no ground truth of pixels.
    """

    catalog: Catalog
    images: np.ndarray
    masks: np.ndarray | None

    @property
    def labels(self) -> np.ndarray:
        """(n,) 0 for good, 1 for defective."""
        return np.array([sample.label for sample in self.catalog.test])


class CategoryImages:
    """The images of one category, each part decoded when it is first asked for."""

    def __init__(self, config: ConfigDict, catalog: Catalog, textures: np.ndarray | None):
        self.catalog = catalog
        self._config, self._textures = config, textures

    @cached_property
    def training(self) -> TrainingImages:
        """What training draws from."""
        return training_images(self._config, self.catalog, self._textures)

    @cached_property
    def test(self) -> TestImages | None:
        """What is measured on; None where there are no test images."""
        catalog, size = self.catalog, self._config.data.image_size
        count = len(catalog.test)
        if not count:
            return None
        plan_memory(
            {
                f"{count} test images": image_bytes(count, size),
                "their score maps": image_bytes(count, size, channels=4),  # float32
                "their masks": image_bytes(count, size, channels=1) * catalog.has_masks,
            }
        )
        images = decode_images([s.path for s in catalog.test], size, what="test images")
        masks = decode_masks(catalog.test, size) if catalog.has_masks else None
        return TestImages(catalog, images, masks)

    def normal_sample(self, count: int) -> np.ndarray:
        """At most ``count`` of the training images, evenly spread over them.

        Returns:
          (m, size, size, 3) uint8.
        """
        samples = self.catalog.train
        chosen = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round())
        paths = [samples[int(index)].path for index in chosen]
        return decode_images(paths, self._config.data.image_size, what="training images")
