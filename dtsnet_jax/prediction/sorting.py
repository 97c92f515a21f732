"""Scored photographs are sorted into folders by what was decided of them."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from data.files import locked, partial_path

SORTED_FOLDERS = ("OK", "review", "NG", "error")


def sort_file(path: Path, directory: Path, decision: str, *, move: bool) -> Path:
    """Puts a photograph into the folder of its decision, whole or not at all.

    What was copied there before, as it is now, is not copied again. All else that lies there stays:
    the newcomer is called 'NAME-2.png', 'NAME-3.png' and so on where its name is taken. Of a link,
    what it leads to is copied, and stays where it is.

    Args:
      path: the photograph.
      directory: where the folders are; they are made.
      decision: one of ``SORTED_FOLDERS``.
      move: whether it disappears where it was.

    Returns:
      Where it is now.

    Raises:
      OSError: it has vanished, the disk is full or may not be written to.
    """
    folder = directory / decision
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):  # others may sort to there
        if not move and _same(path, folder / path.name):
            return folder / path.name
        target = _free(folder, path)
        if move and not path.is_symlink():
            with suppress(OSError):  # it lies on another file system
                return path.rename(target)
        with partial_path(target) as partial:
            shutil.copy2(path, partial)
        if move:
            try:
                path.unlink(missing_ok=True)
            except OSError:
                if path.is_file():  # it stays where it is, and there alone
                    target.unlink()
                    raise
    return target


def _same(path: Path, copy: Path) -> bool:
    """Whether a file is the copy of another, which keeps its time."""
    if not copy.is_file():
        return False
    one, other = path.stat(), copy.stat()
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _free(folder: Path, path: Path) -> Path:
    """The first name of a photograph that nothing has in a folder."""
    target, number = folder / path.name, 1
    while os.path.lexists(target):  # a link that leads nowhere is something
        number += 1
        target = folder / f"{path.stem}-{number}{path.suffix}"
    return target
