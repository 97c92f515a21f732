"""What a configuration says about images, carried out: catalogs, textures, decoded images."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from data.catalog import ALL, Catalog, share_catalogs, unite
from data.files import files_digest
from data.foreground import foreground_files
from data.images import TrainingImages, decode_images
from data.masks import decode_foregrounds, decode_masks, inspect_masks
from data.memory import image_bytes, plan_memory, training_bytes
from data.options import SynthesisOptions
from data.readers import read_catalogs
from data.textures import load_textures, textures_digest
from dtsnet_jax.config import epochs_of, parse_shard, synthesize_every
from dtsnet_jax.devices.processes import processes_here, together


def chosen_catalogs(config: ConfigDict) -> list[Catalog]:
    """Lists the images of the categories that a configuration chooses, its share if it has one.

    Raises:
      UserError: an unknown name or category, a wrong root, missing files, a mask that cannot be
        used (which would otherwise be found only after training).
    """
    catalogs = read_catalogs(
        config.data.name,
        config.data.root,
        config.data.category,
        held_back=config.data.held_back,
        held_back_by=config.data.held_back_by,
    )
    if config.data.shard:
        index, count = parse_shard(config.data.shard)
        catalogs = share_catalogs(catalogs, count, lambda c: epochs_of(config, c.category))[index]
    for index, catalog in enumerate(catalogs):
        notes = inspect_masks(catalog.test, invert=config.data.invert_masks)
        catalogs[index] = replace(catalog, notes=(*catalog.notes, *notes))
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


def synthesis_options(config: ConfigDict) -> SynthesisOptions:
    """How anomalies are drawn."""
    return SynthesisOptions(
        masks=tuple(config.synthesis.masks),
        opacity=tuple(config.synthesis.opacity),
        opacity_of=config.synthesis.opacity_of,
    )


@dataclass(frozen=True)
class EvaluationImages:
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
    """The images of one category, each part decoded when it is first asked for.

    Attributes:
      catalog: where they lie.
    """

    def __init__(self, config: ConfigDict, catalog: Catalog, store: "Images"):
        """Decodes nothing yet.

        Args:
          config: all fields of ``configs/default.py``, checked.
          catalog: the category.
          store: keeps what is decoded for whoever needs the same.
        """
        self.catalog = catalog
        self._config, self._store, self._size = config, store, config.data.image_size

    @property
    def training(self) -> TrainingImages:
        """What training draws from, with its foregrounds and textures.

        Raises:
          UserError: a file cannot be used, or all would not fit into memory.
        """
        textures = self._store.textures(self._config)
        name, size = self.catalog.category, self._size
        normal = self._store.keep(("training", name, size), self._decode_normal)
        if all(files is None for _, files in self._foreground_files):
            return TrainingImages(normal, None, textures)
        key = ("foregrounds", name, size, self._config.data.foreground)
        return TrainingImages(normal, self._store.keep(key, self._decode_foregrounds), textures)

    def _decode_normal(self) -> np.ndarray:
        paths, size = [sample.path for sample in self.catalog.train], self._size
        _plan({f"{len(paths)} training images": training_bytes(len(paths), size)})
        return decode_images(paths, size, what="training images")

    def _decode_foregrounds(self) -> np.ndarray:
        count = len(self.catalog.train)
        _plan({f"{count} foregrounds": training_bytes(count, self._size, channels=1)})
        return decode_foregrounds(self._foreground_files, self._size)

    @cached_property
    def _foreground_files(self) -> list[tuple]:
        """Of each part the images and the files of their foregrounds, None where all is one."""
        data = self._config.data
        method = data.foreground if synthesize_every(self._config) else "none"
        return [
            (
                [sample.path for sample in part.train],
                foreground_files(part, method, model=data.foreground_model),
            )
            for part in self.catalog.parts or (self.catalog,)
        ]

    def made_from(self) -> dict[str, str | None]:
        """Digests of the contents that training depends on, by what messages call them.

        Raises:
          UserError: a file is missing, or a foreground cannot be made.
        """
        synthesizes = synthesize_every(self._config) > 0
        masks = [file for _, files in self._foreground_files for file in files or ()]
        return {
            "training images": self.training_digest,
            "foregrounds": files_digest(masks) if masks else None,
            "textures": textures_digest(self._config.data.textures) if synthesizes else None,
        }

    @cached_property
    def training_digest(self) -> str:
        """Of the contents of the training images in their order."""
        return files_digest([sample.path for sample in self.catalog.train])

    @cached_property
    def test_digest(self) -> str:
        """Of the contents of test images and masks, and of what kind each is."""
        samples = self.catalog.test
        inverted = self._config.data.invert_masks
        kinds = ",".join(f"{sample.defect}:{len(sample.masks)}" for sample in samples)
        paths = [path for sample in samples for path in (sample.path, *sample.masks)]
        return f"{files_digest(paths)} {zlib.crc32(f'{kinds} {inverted}'.encode()):08x}"

    def batches(
        self, *, seed: int, batch_size: int, accumulate: int, first_step: int, last_step: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields what the steps after ``first_step`` up to ``last_step`` train on.

        Args:
          seed: of order and anomalies.
          batch_size: images a batch, over all processes.
          accumulate: batches a step.
          first_step, last_step: counted in steps.

        Yields:
          The arrays of ``data.pipeline.training_batches``, with the batch as first axis.
        """
        from data.pipeline import training_batches  # imports TensorFlow, which only training needs

        batches = training_batches(
            self.training,
            batch_size=batch_size,
            synthesize_every=synthesize_every(self._config),
            options=synthesis_options(self._config),
            seed=seed,
            first_step=first_step * accumulate,
            last_step=last_step * accumulate,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        for group in zip(*[batches] * accumulate, strict=True):
            yield {name: np.stack([batch[name] for batch in group]) for name in group[0]}

    @property
    def test(self) -> EvaluationImages | None:
        """What is measured on; None where there are no test images.

        Raises:
          UserError: as for ``training``.
        """
        if not self.catalog.test:
            return None
        return self._store.keep(("test", self.catalog.category, self._size), self._decode_test)

    def _decode_test(self) -> EvaluationImages:
        catalog, size = self.catalog, self._size
        count = len(catalog.test)
        _plan(
            {
                f"{count} test images": image_bytes(count, size),
                "their score maps": image_bytes(count, size, channels=4),  # float32
                "their masks": image_bytes(count, size, channels=1) * catalog.has_masks,
            }
        )
        images = decode_images([s.path for s in catalog.test], size, what="test images")
        inverted = self._config.data.invert_masks
        masks = decode_masks(catalog.test, size, invert=inverted) if catalog.has_masks else None
        return EvaluationImages(catalog, images, masks)

    def normal_sample(self, count: int) -> np.ndarray:
        """At most ``count`` of the training images, evenly spread over them.

        Returns:
          (m, size, size, 3) uint8.
        """
        samples = self.catalog.train
        chosen = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round())
        paths = [samples[int(index)].path for index in chosen]
        return decode_images(paths, self._size, what="training images")


def _plan(parts: dict[str, int]) -> None:
    """Refuses what does not fit, on all processes, and before one of them has begun to decode."""
    together(lambda: plan_memory(parts, processes=processes_here()))


class Images:
    """The decoded images of a job; whoever asks for the same ones gets the same arrays."""

    def __init__(self):
        self._textures: dict[tuple, np.ndarray] = {}
        self._kept: dict[tuple, Any] = {}

    def of(self, config: ConfigDict, catalog: Catalog) -> CategoryImages:
        """The images of a category as a configuration wants them."""
        return CategoryImages(config, catalog, self)

    def keep(self, key: tuple, decode: Callable[[], Any]) -> Any:
        """What was decoded under this key, decoding it if need be."""
        if key not in self._kept:
            self._kept[key] = together(decode)
        return self._kept[key]

    def forget_categories(self) -> None:
        """Lets go of all but the textures."""
        self._kept.clear()

    def textures(self, config: ConfigDict) -> np.ndarray | None:
        """Decodes the textures, or returns None where nothing is synthesised.

        Returns:
          (t, size, size, 3) uint8.

        Raises:
          UserError: there are none, or a file cannot be used.
        """
        if not synthesize_every(config):
            return None
        key = (config.data.textures, config.data.image_size, config.synthesis.gray_textures)
        if key not in self._textures:
            source, size, gray = key
            self._textures[key] = together(
                lambda: load_textures(source, size, gray=gray, processes=processes_here())
            )
        return self._textures[key]
