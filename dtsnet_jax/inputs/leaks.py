"""Finds test images that have been learned from, of which a measurement says nothing."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.files import file_digest


def shared_files(training: Sequence[Path], test: Sequence[Path]) -> list[str]:
    """A note on the test images whose files have the content of training images; [] without any.

    Raises:
      UserError: a file cannot be read.
    """
    learned = {file_digest(path): path for path in training}
    return _note([(path, learned.get(file_digest(path))) for path in test])


def shared_pixels(
    training: Sequence[Path], learned_images: np.ndarray, test: Sequence[Path], images: np.ndarray
) -> list[str]:
    """A note on the test images that have the pixels of training images; [] without any.

    Args:
      training: the files that were learned from.
      learned_images: (n, height, width, 3) uint8 of these.
      test: the files that are measured on.
      images: the same of these.
    """
    learned = {_digest(pixels): path for path, pixels in zip(training, learned_images, strict=True)}
    return _note(
        [(path, learned.get(_digest(pixels))) for path, pixels in zip(test, images, strict=True)]
    )


def _digest(pixels: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(pixels)).digest()


def _note(pairs: list[tuple[Path, Path | None]]) -> list[str]:
    found = [(path, learned) for path, learned in pairs if learned is not None]
    if not found:
        return []
    path, learned = found[0]
    return [
        f"LEAK: {len(found)} test images are training images as well (first: '{path}' is "
        f"'{learned}'); what is measured with them is too good"
    ]
