"""Images that anomalies are made of: the Describable Textures Dataset, or any others."""

import importlib.util
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import requests
from PIL import Image

from data.archives import data_directory
from data.catalog import list_images
from data.files import files_digest, locked
from data.geometry import place
from data.images import decode_images
from data.memory import plan_memory, training_bytes
from data.options import PixelOptions
from dtsnet_jax.errors import UserError, first_line

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


def load_textures(source: str, options: PixelOptions, *, gray: bool, processes: int) -> np.ndarray:
    """Decodes all textures of a source; each file is one, whatever folder it lies in.

    Args:
      source: 'dtd' (downloaded and prepared by TFDS), a directory, searched with its
        subdirectories, or 'scikit-image'.
      options: of these size, antialiasing and the largest file; textures are always stretched
        (paper) and taken whole.
      gray: takes their colour away, for data sets of grey images.
      processes: how many processes of this machine keep as many.

    Returns:
      (t, height, width, 3) uint8.

    Raises:
      UserError: the source is empty, cannot be had, has a file that cannot be used, or would not
        fit into memory.
    """
    options = replace(options, fit="stretch", tile_size=0, bit_depth=16)
    if source == "dtd":
        textures = _load_dtd(options, processes)
    else:
        files = find_textures(source)
        _plan(len(files), options, processes)
        textures = decode_images(files, options, what="textures").images
    if gray:
        for texture in textures:
            texture[...] = np.asarray(Image.fromarray(texture).convert("L"))[..., None]
    return textures


def textures_digest(source: str) -> str:
    """Tells whether two sources hold the same textures: a hash of the files.

    DTD is TFDS's, which checks what it downloads, so there its name suffices.

    Args:
      source: as in ``load_textures``.

    Raises:
      UserError: the source is empty or missing.
    """
    return source if source == "dtd" else files_digest(find_textures(source))


def _plan(count: int, options: PixelOptions, processes: int) -> None:
    plan_memory({f"{count} textures": training_bytes(count, options.size)}, processes=processes)


def find_textures(source: str) -> list[Path]:
    """Lists the files of a texture source.

    Args:
      source: a directory, searched with its subdirectories, or 'scikit-image'.

    Raises:
      UserError: the source is empty or missing.
    """
    if source == "scikit-image":
        spec = importlib.util.find_spec("skimage")
        if spec is None or spec.origin is None:
            raise UserError(
                "data.textures is 'scikit-image', which is not installed; run "
                "`pip install -r requirements-demo.txt` or name a directory of images."
            )
        return [Path(spec.origin).parent / "data" / name for name in SCIKIT_IMAGE_PHOTOGRAPHS]
    if not source:
        raise UserError(f"data.textures is empty, but anomalies are made of textures; {_ADVICE}")
    files, _ = list_images(Path(source).expanduser())
    if not files:
        raise UserError(f"data.textures is '{source}', where no image lies; {_ADVICE}")
    return files


def _load_dtd(options: PixelOptions, processes: int) -> np.ndarray:
    """DTD through TFDS, from $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    from data.tf import tf  # noqa: F401, silences TensorFlow before TFDS imports it

    import tensorflow_datasets as tfds  # isort: skip

    try:
        build = partial(tfds.builder, "dtd", data_dir=data_directory())
        if not build().is_prepared():
            with locked(data_directory() / "dtd"):
                if not build().is_prepared():  # by another process meanwhile
                    # TFDS would retry for minutes.
                    requests.head(DTD_ADDRESS, timeout=20).raise_for_status()
                    config = tfds.download.DownloadConfig(try_download_gcs=False)
                    build().download_and_prepare(download_config=config)
        builder = build()  # anew, for it reads what there is when it is built
    except Exception as error:  # of TFDS and its downloader, many kinds
        raise UserError(
            f"DTD could not be prepared by TFDS ({first_line(error)}); {_ADVICE}"
        ) from error
    count = sum(builder.info.splits[name].num_examples for name in DTD_SPLITS.split("+"))
    _plan(count, options, processes)
    result = np.empty((count, *options.size, 3), np.uint8)
    for index, example in enumerate(tfds.as_numpy(builder.as_dataset(split=DTD_SPLITS))):
        image = Image.fromarray(example["image"])
        placement = place(image.size[::-1], options.size, options.fit)
        result[index] = placement.resize(image, antialias=options.antialias)
    return result
