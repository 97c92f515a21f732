"""Which photographs are to be scored: what ``--images`` means."""

import glob
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from data.catalog import (
    IMAGE_FORMATS,
    IMAGE_SUFFIXES,
    by_name,
    is_file,
    is_folder,
)
from dtsnet_jax.errors import UserError
from dtsnet_jax.prediction.watching import images_below

STANDARD_INPUT = "-"
_EXPECTED = (
    "give a file, a directory, a pattern in quotes such as 'DIR/**/*.png', or '-' for paths from "
    "standard input"
)


def find_images(source: str) -> list[Path] | Iterator[Path]:
    """Finds the photographs that a source names.

    Args:
      source: a file, whatever its suffix; a directory, searched with its subdirectories; a pattern
        with '*', '?', '[…]' and '**', which leaves out directories and what has no suffix of an
        image; '-' for standard input, one path a line.

    Returns:
      The paths, in the order of their names as people count; for '-' an iterator that yields each
      as it comes, whether it exists or not.

    Raises:
      UserError: there is no such file or directory, no image in it, or no image that matches.
    """
    if source == STANDARD_INPUT:
        return _paths_from_input()
    path = Path(os.path.expanduser(source))  # noqa: PTH111 (Path's refuses unknown users)
    if source and is_folder(path):
        return _images_below(path)
    if is_file(path):
        return [path]
    if any(character in source for character in "*?["):
        return _images_matching(str(path))
    raise UserError(f"--images is '{source}', which is no file or directory; {_EXPECTED}.")


def _paths_from_input() -> Iterator[Path]:
    """One path a line, or where there are zero bytes (``find -print0``) one before each."""
    if sys.stdin is None:
        raise UserError(f"--images is '-', but standard input is closed; {_EXPECTED}.")
    rest = b""
    # Not through Python's buffer: a thread that waits in it cannot be left when the program ends.
    while block := os.read(sys.stdin.fileno(), 1 << 16):
        *lines, rest = (rest + block).replace(b"\0", b"\n").split(b"\n")
        yield from _paths(lines)
    yield from _paths([rest])


def _paths(lines: list[bytes]) -> Iterator[Path]:
    for line in lines:
        if line.strip():
            yield Path(os.fsdecode(line.rstrip(b"\r")))  # names need not be UTF-8


def _images_below(directory: Path) -> list[Path]:
    images = images_below(directory)
    if not images:
        raise UserError(
            f"--images is the directory '{directory}', which holds no image; give one with "
            f"{IMAGE_FORMATS} files."
        )
    return images


def _images_matching(pattern: str) -> list[Path]:
    found = glob.iglob(pattern, recursive=True)  # noqa: PTH207 (Path's takes no absolute pattern)
    matches = [Path(match) for match in found]
    images = [
        path for path in matches if path.suffix.lower() in IMAGE_SUFFIXES and not is_folder(path)
    ]
    if not images:
        found = f"{len(matches)} other names (first: '{matches[0]}')" if matches else "nothing"
        raise UserError(
            f"--images is '{pattern}', which matches no image but {found}; mend the pattern, or "
            f"{_EXPECTED}."
        )
    return by_name(images, Path.as_posix)
