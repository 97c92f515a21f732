"""The images of a category as a configuration wants them, decoded when they are first asked for."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from data.catalog import Catalog, Sample
from data.files import files_digest
from data.foreground import foreground_files
from data.images import Decoded, TrainingImages, count_arrays, decode_images, find_bit_depth
from data.mask_arrays import decode_foregrounds, decode_valid
from data.memory import image_bytes, plan_memory, training_bytes
from data.options import PixelOptions
from data.region import region_files
from data.textures import textures_digest
from dtsnet_jax.config import synthesize_every
from dtsnet_jax.devices.processes import processes_here, together
from dtsnet_jax.inputs.evaluation import (
    EvaluationImages,
    decode_test_images,
    map_frame,
    stitching_bytes,
)
from dtsnet_jax.inputs.options import pixel_options, synthesis_options
from dtsnet_jax.inputs.sample import NormalSample, array_owners, decode_sample


class CategoryImages:
    """The images of one category, each part decoded when it is first asked for.

    The first to ask for a part are all processes together; afterwards each may ask alone.

    Attributes:
      catalog: where they lie.
    """

    def __init__(
        self,
        config: ConfigDict,
        catalog: Catalog,
        *,
        bit_depth: int | None,
        keep: Callable[[tuple, Callable[[], Any]], Any],
        textures: Callable[[], np.ndarray | None],
    ):
        """Decodes nothing yet.

        Args:
          config: all fields of ``configs/default.py``, checked.
          catalog: the category.
          bit_depth: of the images that were learned, or None if it is these.
          keep: gives what was decoded under a key, by its second argument if need be.
          textures: gives the decoded textures, or None where nothing is synthesised.
        """
        self.catalog = catalog
        self._config, self._bit_depth = config, bit_depth
        self._keep, self._textures = keep, textures

    @cached_property
    def bit_depth(self) -> int:
        """Bits a value of files that can hold more than 8: as configured, or as it is found.

        Raises:
          UserError: a training image cannot be used.
        """
        if self._bit_depth or self._config.data.bit_depth:
            return self._bit_depth or self._config.data.bit_depth
        return self._keep(("bit depth", self.catalog.category), self._find_bit_depth)

    def _find_bit_depth(self) -> int:
        found = find_bit_depth(self._training_paths, pixel_options(self._config, bit_depth=16))
        if found > 8:
            print(f"{self.catalog.category}: the training images hold {found} bits a value")
        return found

    @cached_property
    def _training_paths(self) -> list[Path]:
        return [sample.path for sample in self.catalog.train]

    @cached_property
    def _options(self) -> PixelOptions:
        return pixel_options(self._config, bit_depth=self.bit_depth)

    @cached_property
    def training_count(self) -> int:
        """How many images training draws from; of photographs in tiles every tile is one.

        Raises:
          UserError: a photograph is smaller than a tile.
        """
        return sum(count_arrays(self._training_paths, self._options))

    @cached_property
    def training(self) -> TrainingImages:
        """What training draws from, with its foregrounds and textures.

        Raises:
          UserError: a file cannot be used, or all would not fit into memory.
        """
        textures, normal = self._textures(), self._decoded.images
        # By all processes or none, for the decoding below makes them wait for each other.
        parts, regions = together(
            lambda: (self._foreground_files, self._region_files(self.catalog.train))
        )
        decode = partial(self._decode_foregrounds, parts, regions)
        files = tuple(None if masks is None else tuple(masks) for _, masks in parts)
        made_from = (files, tuple(regions or ()), self._config.synthesis.soft_foreground)
        key = ("foregrounds", self.catalog.category, self._options, made_from)
        return TrainingImages(normal, self._keep(key, decode), textures)

    @cached_property
    def _decoded(self) -> Decoded:
        count = together(lambda: self.training_count)
        key = ("training", self.catalog.category, self._options)
        return self._keep(key, partial(self._decode_normal, count))

    def _decode_normal(self, count: int) -> Decoded:
        _plan({f"{count} training images": training_bytes(count, self._options.size)})
        decoded = decode_images(self._training_paths, self._options, what="training images")
        if clipped := decoded.facts.clipped:
            print(
                f"{self.catalog.category}: {len(clipped)} training images hold values beyond "
                f"{self.bit_depth} bits, which are clipped (first: {clipped[0]})"
            )
        return decoded

    def _decode_foregrounds(
        self, parts: list[tuple], regions: list[Path] | None
    ) -> np.ndarray | None:
        """Where anomalies may fall: M_f inside the region of interest; None for anywhere."""
        count, options = self.training_count, self._options
        partial_ones = any(files is not None for _, files in parts)
        if partial_ones or regions or options.fit == "pad":
            _plan({f"{count} foregrounds": training_bytes(count, options.size, channels=1)})
        valid = decode_valid(self._training_paths, regions, options)
        if not partial_ones:
            return valid
        soft = self._config.synthesis.soft_foreground
        foreground = decode_foregrounds(parts, options, soft=soft)
        if valid is not None:
            foreground[~valid] = 0
        return foreground

    @cached_property
    def _foreground_files(self) -> list[tuple]:
        """Of each part the images and the files of their foregrounds, None where all is one."""
        data = self._config.data
        method = data.foreground if synthesize_every(self._config) else "none"
        return [
            (
                [sample.path for sample in part.train],
                foreground_files(part, method, self._options, model=data.foreground_model),
            )
            for part in self.catalog.parts or (self.catalog,)
        ]

    def _region_files(self, samples: Sequence[Sample]) -> list[Path] | None:
        return region_files([sample.path for sample in samples], self._config.data.region)

    def learned(self) -> dict[str, str]:
        """The training images by the hash of their pixels, to know them again.

        Raises:
          UserError: as for ``training``.
        """
        return dict(zip(self._decoded.facts.digests, map(str, self._training_paths), strict=True))

    def made_from(self) -> dict[str, str | int | None]:
        """What training depends on beside the settings, by what messages call it.

        The digests of the contents of files, and the bit depth that every later image is read with.

        Raises:
          UserError: a file is missing, or a foreground cannot be made.
        """
        synthesizes = synthesize_every(self._config) > 0
        masks = [file for _, files in self._foreground_files for file in files or ()]
        shaped = synthesizes or self._config.detector != "student"  # banks: by their damping
        regions = self._region_files(self.catalog.train) if shaped else None
        return {
            "training images": self.training_digest,
            "bit depth": self.bit_depth,
            "foregrounds": files_digest(masks) if masks else None,
            "regions of interest": files_digest(regions) if regions else None,
            "textures": textures_digest(self._config.data.textures) if synthesizes else None,
        }

    @cached_property
    def training_digest(self) -> str:
        """Of the contents of the training images in their order."""
        return files_digest(self._training_paths)

    @cached_property
    def calibration_digest(self) -> str:
        """Of the contents of the calibration images and of their regions of interest."""
        samples = self.catalog.calibration
        return files_digest([s.path for s in samples] + (self._region_files(samples) or []))

    @cached_property
    def test_digest(self) -> str:
        """Of the contents of test images, masks and regions of interest, and of every kind."""
        samples = self.catalog.test
        inverted = self._config.data.invert_masks
        kinds = ",".join(f"{sample.defect}:{len(sample.masks)}" for sample in samples)
        paths = [path for sample in samples for path in (sample.path, *sample.masks)]
        regions = self._region_files(samples) or []
        about = zlib.crc32(f"{kinds} {inverted} {len(regions)}".encode())
        return f"{files_digest([*paths, *regions])} {about:08x}"

    def batches(
        self, *, seed: int, batch_size: int, accumulate: int, first_step: int, last_step: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields what the steps after ``first_step`` up to ``last_step`` train on.

        Args:
          seed: of order, augmentation and anomalies.
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
            augmentations=tuple(self._config.train.augment),
        )
        for group in zip(*[batches] * accumulate, strict=True):
            yield {name: np.stack([batch[name] for batch in group]) for name in group[0]}

    @cached_property
    def test(self) -> EvaluationImages | None:
        """What is measured on; None where there are no test images.

        Raises:
          UserError: as for ``training``.
        """
        if not self.catalog.test:
            return None
        data, scoring = self._config.data, self._config.scoring
        samples, options = self.catalog.test, self._options
        paths = [sample.path for sample in samples]
        frame, regions, memory = together(  # as for ``training``
            lambda: (
                map_frame(paths, options, scoring.measure_at),
                self._region_files(samples),
                stitching_bytes(paths, options),
            )
        )

        def decode() -> EvaluationImages:
            one = image_bytes(len(samples), frame.size, channels=1)
            _plan(
                {
                    f"{len(samples)} test images": 3 * one * (not options.tile_size),
                    "their score maps": 4 * one,  # float32
                    "their masks": one * self.catalog.has_masks,
                    "their regions": one * (frame.fit == "pad" or bool(regions)),
                    "one of them while it is scored": memory,
                }
            )
            inverted = data.invert_masks
            return decode_test_images(
                self.catalog, options, frame, regions=regions, invert_masks=inverted
            )

        key = ("test", self.catalog.category, frame, options, tuple(regions or ()))
        return self._keep(key, decode)

    def normal_sample(self, count: int) -> NormalSample:
        """At most ``count`` of the training images, evenly spread over them.

        Raises:
          UserError: as for ``training``.
        """
        regions = together(lambda: self._region_files(self.catalog.train))
        key = ("sample", self.catalog.category, count, self._options, tuple(regions or ()))
        decode = partial(decode_sample, self._training_paths, regions, count, self._options)
        return self._keep(key, decode)

    def owners(self) -> np.ndarray:
        """Of every image in ``training`` the number of its photograph, of which it may be a tile.

        Raises:
          UserError: a photograph is smaller than a tile.
        """
        return array_owners(self._training_paths, self._options)


def _plan(parts: dict[str, int]) -> None:
    """Refuses what does not fit, on all processes, and before one of them has begun to decode."""
    together(lambda: plan_memory(parts, processes=processes_here()))
