"""Decisions that a person called wrong, kept as a table to train with."""

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from data.catalog import IMAGE_SUFFIXES
from data.files import MemoryFile, partial_path, write_text
from dtsnet_jax.errors import UserError, first_line
from dtsnet_jax.serving.parts import Part

TABLE_FILE = "corrections.csv"
PHOTOGRAPHS = "corrections"
_COLUMNS = ("image", "label", "category", "score", "decision", "at")


class Corrections:
    """OUT/corrections.csv, and in OUT/corrections/ the photographs; any thread may ask."""

    def __init__(self, out: Path):
        """Nothing is made before the first correction.

        Args:
          out: the directory.
        """
        self._out = out
        self._file = out / TABLE_FILE
        self._lock = Lock()

    def mark(self, part: Part, label: str) -> None:
        """Notes what a part is, or with '' takes that back.

        Raises:
          UserError: it could not be scored, its photograph is no longer there, or the table is not
            one of these.
          OSError: the disk is full or may not be written to.
        """
        answer = part.answer
        if answer["error"]:
            raise UserError(
                f"'{answer['file']}' could not be scored ({answer['error']}), so nothing can be "
                "learned from it; send a photograph that can be."
            )
        content = _read_photograph(part)
        image = _name(answer["file"], content)
        with self._lock:
            rows = {(row["image"], row["category"]): row for row in self._read()}
            rows.pop((image, answer["detector"]), None)
            if label:
                path = self._out / image
                if not path.exists():
                    with partial_path(path) as partial:
                        partial.write_bytes(content)
                rows[image, answer["detector"]] = {
                    "image": image,
                    "label": label,
                    "category": answer["detector"],
                    "score": answer["score"],
                    "decision": answer["decision"],
                    "at": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            self._write(list(rows.values()))
            part.label = label

    def _read(self) -> list[dict[str, str]]:
        if not self._file.is_file():
            return []
        try:
            with self._file.open(encoding="utf-8", newline="") as file:
                table = list(csv.reader(file, strict=True))
            if table and tuple(table[0]) != _COLUMNS:
                raise ValueError(f"its columns are {','.join(table[0])}")
            return [dict(zip(_COLUMNS, row, strict=True)) for row in table[1:]]
        except (ValueError, csv.Error) as error:
            raise UserError(
                f"'{self._file}' is no table of corrections ({first_line(error)}), expected UTF-8 "
                f"with the columns {','.join(_COLUMNS)}; move it away, and a new one is begun."
            ) from error

    def _write(self, rows: Sequence[dict]) -> None:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_text(self._file, text.getvalue())


def _read_photograph(part: Part) -> bytes:
    """The bytes of a part's photograph; a line may have sorted it into a folder meanwhile.

    Raises:
      UserError: it is gone, or others may be it as well.
    """
    file, name = part.file, part.answer["file"]
    if isinstance(file, MemoryFile):
        return file.content
    contents = set()
    for place in _places(part):
        with suppress(OSError):
            contents.add(place.read_bytes())
    if len(contents) > 1:
        raise UserError(
            f"of the photograph '{name}' several lie in '{part.sorted_into}', and nothing tells "
            "which it is; send the right one, and correct what is decided then."
        )
    if not contents:
        raise UserError(
            f"the photograph '{name}' is no longer kept; send it again, and correct what is "
            "decided then."
        )
    return contents.pop()


def _places(part: Part) -> list[Path]:
    """Where a part's photograph lies: where it was, or if not there, sorted as ``sort_file``."""
    file, folder = part.file, part.sorted_into
    if file is None or _is_of(part, file):
        return [file] if file else []
    if folder is None:
        return []
    names = re.compile(rf"{re.escape(file.stem)}(-\d+)?{re.escape(file.suffix)}")
    with suppress(OSError):
        of_name = (place for place in folder.iterdir() if names.fullmatch(place.name))
        return [place for place in of_name if _is_of(part, place)]
    return []


def _is_of(part: Part, place: Path) -> bool:
    """Whether a file has the size and the time of a part's photograph."""
    try:
        status = place.stat()
    except OSError:
        return False
    known = status.st_size, status.st_mtime_ns
    return known == (part.answer["bytes"], part.answer["modified"])


def _name(file: str, content: bytes) -> str:
    """Where below OUT a photograph goes; those with the same content are one."""
    suffix = Path(file).suffix.lower()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return f"{PHOTOGRAPHS}/{digest}{suffix if suffix in IMAGE_SUFFIXES else ''}"
