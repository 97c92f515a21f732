"""Foreground masks M_f of training images: made once an image, stored, found again by content.

A stored mask is a 1-bit PNG of the image's size, named after the SHA-256 of the image file. It is
therefore found wherever the images lie, and an interrupted run makes only what is missing.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from data.archives import data_directory
from data.catalog import Catalog, is_file, is_folder
from data.files import file_digest, locked, partial_path, remove_abandoned
from data.images import run_with_progress
from data.matching import match_by_name
from data.opening import open_rgb
from data.options import PixelOptions
from dtsnet_jax.errors import UserError, first_line

METHODS = ("none", "isnet", "threshold")
ISNET = "isnet-general-use"  # Qin et al., 2022, "Highly Accurate Dichotomous Image Segmentation"

MaskFunction = Callable[[Image.Image], np.ndarray]


def foreground_files(
    catalog: Catalog, method: str, options: PixelOptions, *, model: str
) -> list[Path] | None:
    """Returns the files of the foregrounds of training images, making those that are missing.

    Args:
      catalog: the category; where it is a texture, all is foreground.
      method: 'isnet' (paper), 'threshold', 'none', or a directory with a mask for each image, see
        ``data.matching``.
      options: of these the bit depth and the largest file.
      model: for 'isnet', the path of its ONNX file; empty: rembg finds or downloads it.

    Returns:
      One file a training image, or None where all is foreground.

    Raises:
      UserError: unknown method, missing package, model or mask, or the disk is full.
    """
    if method == "none" or catalog.texture:
        return None
    images = [sample.path for sample in catalog.train]
    if method in METHODS:
        return _stored_masks(images, method, options, model)
    return _users_masks(images, Path(method).expanduser())


def _users_masks(images: Sequence[Path], directory: Path) -> list[Path]:
    if not is_folder(directory):
        raise UserError(
            f"data.foreground is '{directory}', which is neither a directory of masks nor one of: "
            f"{', '.join(METHODS)}."
        )
    return match_by_name(images, directory, what="foreground mask")


def _stored_masks(
    images: Sequence[Path], method: str, options: PixelOptions, model: str
) -> list[Path]:
    """Makes the masks that are not stored yet; of several processes one does, the others wait."""
    name = _name_of(method, model)
    if options.bit_depth > 8:  # of which the brightness depends
        name = f"{name}-{options.bit_depth}-bit"
    directory = data_directory() / "foregrounds" / name
    stored: list[Path] = [directory] * len(images)

    def find(index: int) -> None:
        stored[index] = directory / f"{file_digest(images[index])}.png"

    run_with_progress(find, len(images), "looking for stored foregrounds")
    if all(is_file(path) for path in stored):
        return stored
    names = "\n".join(path.name for path in stored)
    with _storing(directory), locked(directory / hashlib.sha256(names.encode()).hexdigest()[:16]):
        remove_abandoned(directory)
        missing = [index for index, path in enumerate(stored) if not is_file(path)]
        if missing:
            segment = threshold_foreground if method == "threshold" else _isnet(model)

            def make(number: int) -> None:
                index = missing[number]
                _store(segment(open_rgb(images[index], options).image), stored[index])

            # IS-Net's runtime uses all cores by itself.
            workers = 1 if method == "isnet" else None
            run_with_progress(make, len(missing), f"foregrounds by {method}", workers=workers)
    return stored


def _name_of(method: str, model: str) -> str:
    if method != "isnet" or not model:
        return ISNET if method == "isnet" else method
    path = Path(model).expanduser()
    if not is_file(path):
        raise UserError(
            f"data.foreground_model is '{model}', but there is no such file; give the path of "
            f"'{ISNET}.onnx', or leave it empty to have it downloaded."
        )
    return f"isnet-{file_digest(path)[:16]}"


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"foreground '{path}' could not be written ({error.strerror or error}); make room, or "
            "choose another directory with $TFDS_DATA_DIR. The masks made so far are kept."
        ) from error


def _store(foreground: np.ndarray, path: Path) -> None:
    with _storing(path), partial_path(path) as partial:
        Image.fromarray(foreground).save(partial, "PNG")


def threshold_foreground(image: Image.Image) -> np.ndarray:
    """Separates a part from an even background by Otsu's threshold (Otsu, 1979).

    The side of the threshold that most of the image's border lies on is the background. Holes are
    filled.

    Args:
      image: 8-bit RGB.

    Returns:
      (height, width) bool; all True where the image has a single value.

    Raises:
      UserError: scikit-image is not installed.
    """
    try:
        from skimage.filters import gaussian, threshold_otsu
    except ImportError as error:
        raise UserError(
            "data.foreground is 'threshold', which needs scikit-image; run "
            "`pip install -r requirements-foreground.txt`."
        ) from error
    gray = gaussian(np.asarray(image.convert("L"), np.float32), sigma=2.0)
    if gray.min() == gray.max():
        return np.ones(gray.shape, bool)
    bright = gray > threshold_otsu(gray)
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    return ndimage.binary_fill_holes(~bright if border.mean() > 0.5 else bright)


def _isnet(model: str) -> MaskFunction:
    """Loads IS-Net; the mask is where it is more than half sure of the foreground."""
    try:
        import rembg
    except (ImportError, SystemExit) as error:  # rembg exits where its runtime is missing
        raise UserError(
            "data.foreground is 'isnet', which needs the package rembg; run "
            "`pip install -r requirements-foreground.txt`, or choose "
            "--config.data.foreground=threshold, none or a directory of masks."
        ) from error
    try:
        if model:
            path = Path(model).expanduser().resolve()
            # rembg accepts model files in its own directory only; this variable sets it.
            os.environ["U2NET_HOME"] = str(path.parent)
            session = rembg.new_session("dis_custom", model_path=str(path))
        else:
            with locked(data_directory() / "foregrounds" / "isnet-model"):  # fetched once
                session = rembg.new_session(ISNET)
    except Exception as error:  # of rembg's downloader or of the ONNX runtime, many kinds
        raise UserError(
            f"IS-Net could not be loaded ({first_line(error)}); give the path of "
            f"'{ISNET}.onnx' (a release asset of github.com/danielgatis/rembg) with "
            "--config.data.foreground_model=PATH, or choose --config.data.foreground=threshold."
        ) from error

    def segment(image: Image.Image) -> np.ndarray:
        return np.asarray(session.predict(image)[0]) > 127

    return segment
