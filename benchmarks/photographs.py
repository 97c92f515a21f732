"""Photographs to measure with: crops of scikit-image's, stored as the data sets store theirs."""

from pathlib import Path

import numpy as np
from PIL import Image

from data.opening import open_rgb
from data.options import PixelOptions
from data.textures import find_textures


def write_photographs(directory: Path, count: int, *, size: tuple[int, int], suffix: str) -> None:
    """Writes crops of half a photograph's height and width, enlarged to ``size``.

    Args:
      directory: where to, made if need be.
      count: number of files.
      size: width and height in pixels.
      suffix: '.png' (MVTec AD's format) or '.jpg' (DTD's).
    """
    directory.mkdir(parents=True, exist_ok=True)
    sources = [open_rgb(path, PixelOptions()).image for path in find_textures("scikit-image")]
    generator = np.random.default_rng(0)
    for index in range(count):
        source = sources[index % len(sources)]
        width, height = source.width // 2, source.height // 2
        left = int(generator.integers(source.width - width))
        top = int(generator.integers(source.height - height))
        crop = source.resize(
            size, Image.Resampling.BICUBIC, (left, top, left + width, top + height)
        )
        crop.save(directory / f"{index:04}{suffix}")
