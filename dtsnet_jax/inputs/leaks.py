"""Finds test images that have been learned from, of which a measurement says nothing."""

from collections.abc import Sequence
from pathlib import Path

from data.files import file_digests


def shared_files(training: Sequence[Path], test: Sequence[Path]) -> list[str]:
    """A note on the test images whose files have the content of training images; [] without any.

    Raises:
      UserError: a file cannot be read.
    """
    learned = dict(zip(file_digests(training), map(str, training), strict=True))
    return shared_images(learned, test, file_digests(test))


def shared_images(
    learned: dict[str, str], test: Sequence[Path], digests: Sequence[str]
) -> list[str]:
    """A note on the test images that were learned from; [] without any.

    Args:
      learned: the training images by a digest of their contents.
      test: the files that are measured on.
      digests: of the contents of these.
    """
    found = [
        (path, learned[digest])
        for path, digest in zip(test, digests, strict=True)
        if digest in learned
    ]
    if not found:
        return []
    path, first = found[0]
    return [
        f"LEAK: {len(found)} test images are training images as well (first: '{path}' is "
        f"'{first}'); what is measured with them is too good"
    ]
