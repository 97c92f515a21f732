"""Images that anomalies are made of: the Describable Textures Dataset, or any others."""

import importlib.util
from pathlib import Path

import numpy as np
import requests
from PIL import Image

from data.archives import data_directory
from data.catalog import list_images
from data.errors import DataError
from data.images import decode_images
from data.memory import plan_memory, training_bytes

DTD_ADDRESS = "https://www.robots.ox.ac.uk/~vgg/data/dtd/"
DTD_SPLITS = "train+test+validation"  # 5,640 images in all
_ADVICE = (
    f"get the Describable Textures Dataset from {DTD_ADDRESS} and give its directory, or any "
    "other directory of images, with --config.data.textures=DIR; 'scikit-image' takes that "
    "package's photographs, and configs/demo.py needs none."
)

# Photographs that lie in scikit-image's wheel (public domain or free licences, listed there).
SCIKIT_IMAGE_PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png",
    "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
    "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip


def load_textures(source: str, size: int, *, gray: bool) -> np.ndarray:
    """Decodes all textures of a source; each file is one, whatever folder it lies in.

    Args:
      source: 'dtd' (downloaded and prepared by TFDS), a directory, searched with its
        subdirectories, or 'scikit-image'.
      size: height and width of the results.
      gray: takes their colour away, for data sets of grey images.

    Returns:
      (t, size, size, 3) uint8.

    Raises:
      DataError: the source is empty, cannot be had, has a file that cannot be used, or would not
        fit into memory.
    """
    if source == "dtd":
        textures = _load_dtd(size)
    else:
        files = find_textures(source)
        plan_memory({f"{len(files)} textures": training_bytes(len(files), size)})
        textures = decode_images(files, size, what="textures")
    if gray:
        for texture in textures:
            texture[...] = np.asarray(Image.fromarray(texture).convert("L"))[..., None]
    return textures


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
        raise DataError(f"data.textures is empty, but anomalies are made of textures; {_ADVICE}")
    files, _ = list_images(Path(source).expanduser())
    if not files:
        raise DataError(f"data.textures is '{source}', where no image lies; {_ADVICE}")
    return files


def _load_dtd(size: int) -> np.ndarray:
    """DTD through TFDS, from $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder("dtd", data_dir=data_directory())
        if not builder.is_prepared():  # asked first, as TFDS retries for minutes
            requests.head(DTD_ADDRESS, timeout=20).raise_for_status()
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        builder.download_and_prepare(download_config=config)
    except Exception as error:  # of TFDS and its downloader, many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"DTD could not be prepared by TFDS ({reason}); {_ADVICE}") from error
    count = sum(builder.info.splits[name].num_examples for name in DTD_SPLITS.split("+"))
    plan_memory({f"{count} textures": training_bytes(count, size)})
    result = np.empty((count, size, size, 3), np.uint8)
    for index, example in enumerate(tfds.as_numpy(builder.as_dataset(split=DTD_SPLITS))):
        image = Image.fromarray(example["image"]).resize((size, size), Image.Resampling.BILINEAR)
        result[index] = image
    return result
