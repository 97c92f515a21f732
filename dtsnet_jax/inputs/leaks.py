"""Finds images to measure or calibrate on that have been learned from, and so say nothing."""

from collections.abc import Sequence
from pathlib import Path

from data.files import file_digests


def shared_files(training: Sequence[Path], others: Sequence[Path], what: str) -> list[str]:
    """A note on the images whose files have the content of training images; [] without any.

    Args:
      training: the files that are learned from.
      others: the files that should not be among them.
      what: these are called.

    Raises:
      UserError: a file cannot be read.
    """
    learned = dict(zip(file_digests(training), map(str, training), strict=True))
    return shared_images(learned, others, file_digests(others), what)


def shared_images(
    learned: dict[str, str], others: Sequence[Path], digests: Sequence[str], what: str
) -> list[str]:
    """A note on the images that were learned from; [] without any.

    Args:
      learned: the training images by a digest of their contents.
      others: the files that should not be among them.
      digests: of the contents of these.
      what: these are called.
    """
    found = [
        (path, learned[digest])
        for path, digest in zip(others, digests, strict=True)
        if digest in learned
    ]
    if not found:
        return []
    path, first = found[0]
    return [
        f"LEAK: {len(found)} {what} images are training images as well (first: '{path}' is "
        f"'{first}'); what rests on them is too good"
    ]
