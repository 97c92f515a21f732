"""The newest parts that a server has seen, and those of them that were decided upon wrongly."""

import csv
import hashlib
import io
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from data.files import MemoryFile, write_text
from dtsnet_jax.errors import UserError
from dtsnet_jax.prediction.log import outcome_of
from dtsnet_jax.prediction.prediction import Prediction

NEWEST = 200  # parts that are kept
NEWEST_BYTES = 256 * 2**20  # of photographs and score maps that are kept
MARKS_FILE = "corrections.csv"
_COLUMNS = ("image", "label", "category", "score", "decision", "at")
LABELS = ("good", "defective")


@dataclass
class Part:
    """A photograph that was scored, or could not be.

    Attributes:
      number: counts all parts, from 1 on.
      answer: what was said of it: 'file', 'detector', 'at', 'score', 'p_value', 'decision',
        'unusual', 'clipped', 'drift', 'regions' and 'error', as ``dtsnet_jax.prediction.log.Row``.
      file: the photograph; None where it is no longer kept.
      picture: of a photograph that was scored here its prediction, of one that was scored by
        another process the file of its picture, or None.
      label: 'good' or 'defective' where a person says that the decision is wrong, else ''.
    """

    number: int
    answer: dict
    file: MemoryFile | Path | None
    picture: Prediction | Path | None
    label: str = ""

    @property
    def shown(self) -> dict:
        """What the page shows of it."""
        return self.answer | {
            "part": self.number,
            "outcome": outcome_of(self.answer),
            "label": self.label,
            "pictured": self.picture is not None,
        }

    @property
    def bytes(self) -> int:
        """What it keeps in memory."""
        content = len(self.file.content) if isinstance(self.file, MemoryFile) else 0
        return content + (self.picture.map.nbytes if isinstance(self.picture, Prediction) else 0)


class Parts:
    """The newest parts, of the older ones maybe without photographs; any thread may ask."""

    def __init__(self):
        self._parts: OrderedDict[int, Part] = OrderedDict()
        self._last, self._bytes = 0, 0
        self._lock = Lock()

    def add(
        self, answer: dict, file: MemoryFile | Path | None, picture: Prediction | Path | None
    ) -> Part:
        """Adds a part; see ``Part``."""
        with self._lock:
            self._last += 1
            part = Part(self._last, answer, file, picture)
            self._parts[part.number] = part
            self._bytes += part.bytes
            if len(self._parts) > NEWEST:
                self._bytes -= self._parts.popitem(last=False)[1].bytes
            for old in self._parts.values():
                if self._bytes <= NEWEST_BYTES:
                    break
                self._bytes -= old.bytes
                if isinstance(old.file, MemoryFile):
                    old.file = old.picture = None
            return part

    def newest(self, after: int = 0) -> list[Part]:
        """The parts with larger numbers than this, the newest first."""
        with self._lock:
            return [part for part in reversed(self._parts.values()) if part.number > after]

    def __getitem__(self, number: int) -> Part:
        """A part by its number.

        Raises:
          UserError: it is not among the newest.
        """
        part = self._parts.get(number)
        if part is None:
            raise UserError(f"part {number} is not among the newest {NEWEST}, which are kept.")
        return part


class Corrections:
    """Decisions that a person called wrong: OUT/corrections.csv, a table to train with.

    Uploaded photographs are written beside it; of others their path is noted.
    """

    def __init__(self, out: Path):
        self._out = out
        self._file = out / MARKS_FILE
        self._lock = Lock()

    def mark(self, part: Part, label: str) -> None:
        """Notes what a part is, or with '' takes that back.

        Raises:
          UserError: its photograph is no longer kept, or the table there is not one of these.
          OSError: the disk is full or may not be written to.
        """
        file = part.file
        if file is None:
            raise UserError(
                f"the photograph of part {part.number} is no longer kept; send it again."
            )
        with self._lock:
            image = self._path(file)
            rows = {row["image"]: row for row in self._read()}
            rows.pop(image, None)
            if label:
                answer = part.answer
                rows[image] = {
                    "image": image,
                    "label": label,
                    "category": answer["detector"],
                    "score": answer["score"],
                    "decision": answer["decision"],
                    "at": datetime.now(UTC).isoformat(timespec="seconds"),
                }
                if isinstance(file, MemoryFile):
                    path = self._out / image
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(file.content)
            self._write(list(rows.values()))
            part.label = label

    def _path(self, file: MemoryFile | Path) -> str:
        """What the table calls a photograph: uploads with the same content are one."""
        if isinstance(file, Path):
            return str(file)
        digest = hashlib.sha256(file.content).hexdigest()[:16]
        return f"corrections/{digest}{Path(file.name).suffix.lower()}"

    def _read(self) -> list[dict]:
        if not self._file.is_file():
            return []
        with self._file.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            if tuple(table.fieldnames or ()) != _COLUMNS:
                raise UserError(
                    f"'{self._file}' has the columns {table.fieldnames}, expected "
                    f"{','.join(_COLUMNS)}; move it away, and a new one is begun."
                )
            return list(table)

    def _write(self, rows: Sequence[dict]) -> None:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_text(self._file, text.getvalue())
