"""Images that anomalies are made of: the Describable Textures Dataset, or any others."""

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from data.catalog import list_images
from data.errors import DataError
from data.images import decode_images

# Photographs that lie in scikit-image's wheel (public domain or free licences, listed there).
SCIKIT_IMAGE_PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png",
    "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
    "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip


def find_textures(source: str) -> list[Path]:
    """Lists the files of a texture source.

    Args:
      source: a directory, searched with its subdirectories, or 'scikit-image'.

    Raises:
      DataError: the source is empty or missing.
    """
    if source == "scikit-image":
        spec = importlib.util.find_spec("skimage")
        if spec is None or spec.origin is None:
            raise DataError(
                "data.textures is 'scikit-image', which is not installed; run "
                "`pip install -r requirements-demo.txt` or name a directory of images."
            )
        return [Path(spec.origin).parent / "data" / name for name in SCIKIT_IMAGE_PHOTOGRAPHS]
    if not source:
        raise DataError(
            "data.textures is empty; anomalies are made of texture images: download DTD from "
            "https://www.robots.ox.ac.uk/~vgg/data/dtd/ and give its directory with "
            "--config.data.textures=DIR, any other directory of images, or 'scikit-image' "
            "(configs/demo.py needs none)."
        )
    files, _ = list_images(Path(source).expanduser())
    if not files:
        raise DataError(
            f"data.textures is '{source}', where no image lies; name another directory."
        )
    return files


def load_textures(source: str, size: int, *, gray: bool) -> np.ndarray:
    """Decodes all textures of a source.

    Args:
      source: as in ``find_textures``.
      size: height and width of the results.
      gray: takes their colour away, for data sets of grey images.

    Returns:
      (t, size, size, 3) uint8.

    Raises:
      DataError: the source is empty or a file cannot be used.
    """
    textures = decode_images(find_textures(source), size, what="textures")
    if gray:
        for texture in textures:
            texture[...] = np.asarray(Image.fromarray(texture).convert("L"))[..., None]
    return textures
