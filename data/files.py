"""Files that several processes share: written whole or not at all, locked, hashed, downloaded."""

import hashlib
import io
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, wraps
from pathlib import Path
from typing import Literal, TypeVar

import filelock
import pooch
import psutil
import requests

from data.forms import Form, parse_json
from dtsnet_jax.errors import UserError

_PARTIAL = ".partial"
ON_WINDOWS = os.name == "nt"
HELD_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6)  # on Windows others, as scanners, hold files for a moment

T = TypeVar("T")


@contextmanager
def partial_path(path: Path, *, directory: bool = False) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` that takes its name when the block ends well.

    The name is unique, so writers do not disturb each other, and holds the machine and process,
    so that what a killed process leaves behind can be told from what is being written.

    Args:
      path: the final path; its directory is made. An existing file is replaced.
      directory: whether a directory is written, which exists when the block begins.

    Yields:
      The temporary path.

    Raises:
      OSError: the disk is full or may not be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.{_machine()}.{os.getpid()}."
    partial = Path(tempfile.mktemp(prefix=prefix, suffix=_PARTIAL, dir=path.parent))
    try:
        if directory:
            partial.mkdir()
        yield partial
        _name(partial, path)
    finally:
        remove(partial)


def _name(partial: Path, path: Path) -> Path:
    """Gives what was written its name; on Windows an empty directory has to make room for one."""
    for seconds in HELD_SECONDS if ON_WINDOWS else ():
        with suppress(PermissionError):
            if partial.is_dir() and path.is_dir() and not path.is_symlink():
                path.rmdir()
            return partial.replace(path)
        time.sleep(seconds)
    return partial.replace(path)


@dataclass(frozen=True)
class MemoryFile:
    """A file that lies in memory, as one that was uploaded; readers take it like a path.

    Attributes:
      name: what messages call it.
      content: its bytes.
    """

    name: str
    content: bytes = field(repr=False)

    def __str__(self) -> str:
        return self.name

    def open(self, mode: Literal["rb"], buffering: int = -1) -> io.BytesIO:
        return io.BytesIO(self.content)

    def read_bytes(self) -> bytes:
        return self.content


def file_size(file: Path | MemoryFile) -> int | None:
    """Its bytes; None where there is no such file."""
    if isinstance(file, MemoryFile):
        return len(file.content)
    return file.stat().st_size if file.is_file() else None


class BoundedFile(io.BufferedReader):
    """A file from which no more is asked at once than it has.

    Python makes room for all that a reader wants, and readers want what a header claims.
    """

    def __init__(self, file: Path | MemoryFile):
        super().__init__(file.open("rb", buffering=0))
        self._size = self.seek(0, os.SEEK_END)
        self.seek(0)

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all; its directory is made."""
    with partial_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path, form: Form) -> dict | None:
    """What a file holds as JSON; None where there is no file.

    Args:
      path: the file.
      form: what it has to hold, an object with at least these names.

    Raises:
      UserError: it holds something else.
    """
    if not path.is_file():
        return None
    content, damage = parse_json(path.read_bytes(), form)
    if damage:
        raise UserError(
            f"'{path}' is damaged, {damage}; restore it, or start a new run with --workdir=DIR."
        )
    return content


def remove(path: Path) -> None:
    """Removes a file or a directory with all that it holds, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_abandoned(directory: Path) -> None:
    """Removes what killed processes of this machine left half-written in a directory."""
    for partial, _, machine, process in _partials(directory):
        if machine == _machine() and not _wrote(process, partial):
            remove(partial)


def remove_partials(path: Path) -> None:
    """Removes what anybody left half-written of ``path``; only who holds its lock may ask."""
    for partial, name, _, _ in _partials(path.parent):
        if name == path.name:
            remove(partial)


def discard(path: Path) -> None:
    """Removes a file or directory that at no moment is there in part under its name."""
    name = f".{path.name}.{_machine()}.{os.getpid()}.discarded{_PARTIAL}"
    remove(path.replace(path.with_name(name)))


def _machine() -> str:
    return socket.gethostname().replace(".", "-")  # a dot ends it in the names of partial files


def _partials(directory: Path) -> Iterator[tuple[Path, str, str, int]]:
    """Yields what is half-written in a directory: of which name, on which machine, by whom."""
    for path in directory.glob(f".*{_PARTIAL}"):
        parts = path.name[1 : -len(_PARTIAL)].rsplit(".", 3)
        if len(parts) == 4 and parts[2].isdigit():
            yield path, parts[0], parts[1], int(parts[2])


def _wrote(process: int, path: Path) -> bool:
    """Whether a process is alive and old enough to have made a file."""
    try:
        return psutil.Process(process).create_time() <= path.stat().st_mtime + 1
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock that guards ``path``; a process that dies lets go of it.

    Args:
      path: what is guarded; the lock is the file '.locks/NAME.lock' beside it.
      wait: whether to wait for another holder.

    Raises:
      BlockingIOError: another process holds it and ``wait`` is False.
    """
    directory = path.parent / ".locks"
    directory.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(directory / f"{path.name}.lock", timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise BlockingIOError(f"'{path}' is in use by another process") from error
    try:
        yield
    finally:
        lock.release()


def once_a_version(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Makes a function of a file's content read it once a process as long as it is unchanged.

    Args:
      read: what is done with the file; what it raises is not remembered.

    Returns:
      The same function, which raises OSError where there is no such file.
    """

    @cache
    def read_version(path: Path, size: int, modified: int) -> T:
        del size, modified  # they only tell one version of the file from another
        return read(path)

    @wraps(read)
    def read_once(path: Path) -> T:
        status = path.stat()
        return read_version(path, status.st_size, status.st_mtime_ns)

    return read_once


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content; computed once a process as long as the file is unchanged.

    Raises:
      UserError: it cannot be read.
    """
    try:
        return _digest(path)
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be read ({error.strerror}); replace or remove it."
        ) from error


@once_a_version
def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digests(paths: Sequence[Path]) -> list[str]:
    """``file_digest`` of several files, read side by side.

    Raises:
      UserError: one cannot be read.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(file_digest, paths))


def files_digest(paths: Sequence[Path]) -> str:
    """One SHA-256 for the contents of several files in their order, wherever they lie.

    Raises:
      UserError: one cannot be read.
    """
    return hashlib.sha256("\n".join(file_digests(paths)).encode()).hexdigest()


def download(address: str, path: Path, *, check: Callable[[Path], None]) -> None:
    """Downloads a file with a progress bar; it appears whole and checked, or never.

    Several processes that want the same file wait for the one that fetches it.

    Args:
      address: from where.
      path: to where; nothing happens if another process has put it there meanwhile.
      check: raises what is wrong with the file that has arrived.

    Raises:
      OSError, requests.RequestException: no connection, no such file, or a full disk.
    """
    with locked(path):
        remove_partials(path)
        if path.is_file():
            return
        with partial_path(path) as partial:
            pooch.HTTPDownloader(progressbar=True)(address, str(partial), None)
            check(partial)


DOWNLOAD_ERRORS = (requests.RequestException, OSError, ValueError)
