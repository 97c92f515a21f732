"""The line's photographs on a server's page: what ``--job=predict`` of another process writes."""

import json
import os
from pathlib import Path
from typing import BinaryIO

from dtsnet_jax.prediction.log import LINES_FILE, is_row, outcome_of
from dtsnet_jax.serving.parts import NEWEST, Parts

SECONDS = 1.0  # between two looks
_LONGEST = 2**20  # bytes: of what has been written before, no more is read than its end


class Follower:
    """Reads the rows that are added to a log of predictions."""

    def __init__(self, directory: Path, parts: Parts):
        """Nothing need be there yet.

        Args:
          directory: --out of the predictions.
          parts: where the rows go.
        """
        self._directory, self._parts = directory, parts
        self._file = directory / LINES_FILE
        self._inode, self._offset = 0, 0

    def look(self) -> None:
        """Takes what was added since the last look, or of a new log its newest rows."""
        try:
            with self._file.open("rb") as file:
                self._find_place(file)
                file.seek(self._offset)
                written = file.read(_LONGEST)
        except OSError:  # not there, not yet there, or being exchanged
            return
        complete = written[: written.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines()[-NEWEST:]:
            self._add(line)

    def _find_place(self, file: BinaryIO) -> None:
        """Begins anew where the file is another one than before."""
        status = os.fstat(file.fileno())
        if status.st_ino == self._inode and status.st_size >= self._offset:
            return
        self._inode, self._offset = status.st_ino, max(0, status.st_size - _LONGEST)
        if self._offset:
            file.seek(self._offset)
            file.readline()  # the rest of one
            self._offset = file.tell()

    def _add(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            if not is_row(row):  # the header, or damaged: predict tells
                return
            photograph = Path(row["file"])
            picture = self._directory / row["picture"] if row["picture"] else None
            if picture and not picture.resolve().is_relative_to(self._directory.resolve()):
                picture = None
        except (ValueError, OSError, RecursionError):
            return
        row["detector"] = row.pop("category")
        for name in ("file", "error"):  # names of files may have bytes that are not UTF-8
            row[name] = row[name] and row[name].encode(errors="replace").decode()
        self._parts.add(row, photograph, picture, self._directory / outcome_of(row))
