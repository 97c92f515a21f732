"""Photographs that appear in a folder, each given out when it is whole.

The system tells of changes at once, but not of all: not of those that another machine makes on a
network drive, nor of files in a folder that has only just been made. Therefore the folder is also
searched again and again, the less often the longer that takes.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from stat import S_ISREG
from threading import Event, Thread

import watchfiles

from data.catalog import IMAGE_SUFFIXES, by_name, is_folder
from dtsnet_jax.errors import UserError

_SEARCH_SECONDS = 1.0  # at least so long from one search to the next,
_SEARCH_SHARE = 0.05  # and so long that they take no more than this share of the time

Version = tuple[int, int]  # size in bytes, time of change in nanoseconds


def settled_images(
    directory: Path,
    *,
    stop: Event | None = None,
    quiet_seconds: float = 1.0,
    ignoring: Sequence[Path] = (),
) -> Iterator[list[Path]]:
    """Gives out the images in a folder and its subfolders, and new ones as they appear.

    A file is given out when it has not changed for some time, and again if it is replaced later.
    Links are followed; hidden files and folders and what has no suffix of an image are left out.

    Args:
      directory: the folder.
      stop: ends the iteration when set; files that have not settled are not given out.
      quiet_seconds: for how long size and time of change must stay the same.
      ignoring: folders whose files are left out.

    Returns:
      An iterator over lists of absolute paths, of what has settled since the last one: first what
      is there already, in the order of names as people count, then what comes, as it arrives. A
      list may be empty, so that the caller has its turn at least once a second.

    Raises:
      UserError: the folder does not exist or, from the iterator, has vanished.
    """
    _require(directory)
    # The library tells of absolute paths, whatever it is given.
    return _settled_images(directory.absolute(), stop or Event(), quiet_seconds, ignoring)


def _settled_images(
    directory: Path, stop: Event, quiet_seconds: float, ignoring: Sequence[Path]
) -> Iterator[list[Path]]:
    arrivals = _Arrivals(directory, ignoring, quiet_seconds)
    with _changed_paths(directory) as changed:
        arrivals.search(_by_name)
        next_search = time.monotonic() + _SEARCH_SECONDS
        while not stop.is_set():
            yield arrivals.settled()
            arrivals.notice(_received(changed, seconds=min(quiet_seconds / 2, 0.5)))
            _require(directory)
            start = time.monotonic()
            if start >= next_search:
                arrivals.search(_by_arrival)
                end = time.monotonic()
                next_search = end + max(_SEARCH_SECONDS, (end - start) / _SEARCH_SHARE)


class _Arrivals:
    """The images of a folder that have been seen, and those of them that have been given out."""

    def __init__(self, directory: Path, ignoring: Sequence[Path], quiet_seconds: float):
        self._directory, self._quiet_seconds = directory, quiet_seconds
        self._ignored = frozenset(path.resolve() for path in ignoring)
        self._given: dict[Path, Version] = {}
        self._unsettled: dict[Path, tuple[Version, float]] = {}  # and since when it is like that

    def search(self, order: Callable[[Iterable[Path]], list[Path]]) -> None:
        """Notices all images that are there and forgets those that are not."""
        found = set(_images(self._directory, self._ignored))
        self._given = {path: version for path, version in self._given.items() if path in found}
        self._update(found, order)

    def notice(self, paths: Iterable[Path]) -> None:
        """Notices those of some files that are images and have appeared, changed or vanished."""
        self._update(filter(self._is_wanted, paths), _by_arrival)

    def settled(self) -> list[Path]:
        """Gives out the images that have settled, in the order in which they were noticed."""
        settled, now = [], time.monotonic()
        for path, (version, since) in list(self._unsettled.items()):
            if now - since < self._quiet_seconds:
                continue
            current = _version(path)
            if current is not None and current != version:
                self._unsettled[path] = current, now
                continue
            del self._unsettled[path]
            if current is not None:
                self._given[path] = current
                settled.append(path)
        return settled

    def _update(self, paths: Iterable[Path], order: Callable[[Iterable[Path]], list[Path]]) -> None:
        changed: dict[Path, Version] = {}
        for path in paths:
            version = _version(path)
            before, _ = self._unsettled.get(path, (self._given.get(path), None))
            if version is None:
                self._given.pop(path, None)
            elif version != before:
                changed[path] = version
        now = time.monotonic()
        self._unsettled |= {path: (changed[path], now) for path in order(changed)}

    def _is_wanted(self, path: Path) -> bool:
        if not _is_image(path.name) or not path.is_relative_to(self._directory):
            return False
        if any(part.startswith(".") for part in path.relative_to(self._directory).parts):
            return False
        real = path.parent.resolve()
        return self._ignored.isdisjoint((real, *real.parents))


def images_below(directory: Path) -> list[Path]:
    """The images below a directory in the order of their names as people count.

    Links are followed; what is hidden or cannot be read is passed over. Nothing is said of the
    files: they may be broken, or lead nowhere.
    """
    return _by_name(_images(directory, frozenset()))


def _images(directory: Path, closed: frozenset[Path]) -> Iterator[Path]:
    """Yields the images below a directory; what cannot be read is passed over.

    Args:
      directory: where to search.
      closed: real directories not to enter: ignored ones, and those around this one, to which a
        link may lead back.
    """
    real = directory.resolve()
    if real in closed:
        return
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if is_folder(path):
                yield from _images(path, closed | {real})
            elif _is_image(entry.name):
                yield path


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _version(path: Path) -> Version | None:
    """Size and time of change of a file; None where there is none."""
    with suppress(OSError):
        status = path.stat()
        if S_ISREG(status.st_mode):
            return status.st_size, status.st_mtime_ns
    return None


def _by_name(paths: Iterable[Path]) -> list[Path]:
    return by_name(paths, Path.as_posix)


def _by_arrival(paths: Iterable[Path]) -> list[Path]:
    return sorted(_by_name(paths), key=_arrival)


def _arrival(path: Path) -> int:
    """When a file or link got its name or content, in nanoseconds."""
    with suppress(OSError):
        return path.lstat().st_ctime_ns
    return 0


@contextmanager
def _changed_paths(directory: Path) -> Iterator[SimpleQueue[Path]]:
    """Listens to the system within the block; gives a queue of the paths that have changed.

    This is done in a thread, because in the main one the library makes a KeyboardInterrupt of
    every signal. Names that are not UTF-8 and a limit of the system end its work for a while.
    """
    changed, end = SimpleQueue(), Event()

    def listen() -> None:
        while not end.is_set():
            with suppress(RuntimeError, OSError):  # the next search finds what is missed
                for changes in watchfiles.watch(directory, watch_filter=None, stop_event=end):
                    for _, path in changes:
                        changed.put(Path(path))
            end.wait(_SEARCH_SECONDS)

    thread = Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield changed
    finally:
        end.set()
        thread.join()


def _received(changed: SimpleQueue[Path], *, seconds: float) -> set[Path]:
    """Takes all that lies in a queue; waits some time if that is nothing."""
    paths = set()
    with suppress(Empty):
        paths.add(changed.get(timeout=seconds))
        while True:
            paths.add(changed.get_nowait())
    return paths


def _require(directory: Path) -> None:
    if not is_folder(directory):
        raise UserError(
            f"the folder '{directory}', in which photographs are awaited, does not exist; make it, "
            "or name another one."
        )
