"""The decoded images of a job."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from data.catalog import Catalog
from data.textures import load_textures
from dtsnet_jax.config import synthesize_every
from dtsnet_jax.devices.processes import processes_here, together
from dtsnet_jax.inputs.category import CategoryImages
from dtsnet_jax.inputs.options import pixel_options


class Images:
    """The decoded images of a job; whoever asks for the same ones gets the same arrays."""

    def __init__(self):
        self._textures: dict[tuple, np.ndarray] = {}
        self._kept: dict[tuple, Any] = {}

    def of(
        self, config: ConfigDict, catalog: Catalog, *, bit_depth: int | None = None
    ) -> CategoryImages:
        """The images of a category as a configuration wants them.

        Args:
          config: all fields of ``configs/default.py``, checked.
          catalog: the category.
          bit_depth: that of the images that were learned, where these are others.
        """
        return CategoryImages(
            config,
            catalog,
            bit_depth=bit_depth,
            keep=self.keep,
            textures=partial(self.textures, config),
        )

    def as_learned(self, config: ConfigDict, catalog: Catalog, learns: Catalog) -> CategoryImages:
        """The images of a category, read with the bit depth of what its detector learns."""
        return self.of(config, catalog, bit_depth=self.of(config, learns).bit_depth)

    def keep(self, key: tuple, decode: Callable[[], Any]) -> Any:
        """What was decoded under this key, decoding it if need be."""
        if key not in self._kept:
            self._kept[key] = together(decode)
        return self._kept[key]

    def forget_categories(self) -> None:
        """Lets go of all arrays but the textures."""
        self._kept = {key: kept for key, kept in self._kept.items() if key[0] == "bit depth"}

    def textures(self, config: ConfigDict) -> np.ndarray | None:
        """Decodes the textures, or returns None where nothing is synthesised.

        Returns:
          (t, height, width, 3) uint8.

        Raises:
          UserError: there are none, or a file cannot be used.
        """
        if not synthesize_every(config):
            return None
        options = pixel_options(config, bit_depth=16)
        key = (config.data.textures, options, config.synthesis.gray_textures)
        if key not in self._textures:
            source, _, gray = key
            self._textures[key] = together(
                lambda: load_textures(source, options, gray=gray, processes=processes_here())
            )
        return self._textures[key]
