"""What was predicted, written so that a kill loses nothing and no file is scored twice.

OUT/predictions.jsonl   the truth: a header, then one JSON object for each scored file
OUT/predictions.csv     the same for people, made from it
"""

import csv
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, get_args

from data.files import locked, partial_path, remove_partials
from data.forms import find_mismatch
from dtsnet_jax.errors import UserError
from dtsnet_jax.prediction.limits import Decision

LINES_FILE = "predictions.jsonl"
TABLE_FILE = "predictions.csv"
SCHEMA = 1
RECENT = 20_000  # rows that are kept in memory, 1.5 kB each; of all others only what became of them
_COLUMNS = (
    "file", "category", "at", "score", "p_value", "decision", "unusual", "clipped", "drift",
    "picture",
    "error", "regions", "left", "upper", "right", "lower", "area", "peak",
)  # fmt: skip
_TABLE_FORMAT = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


@dataclass(frozen=True)
class Row:
    """One scored file.

    Attributes:
      file: its absolute path.
      category: of the detector that scored it; '' where none is told.
      bytes: its size; None where it could not be seen, which is an error.
      modified: when it was changed, in nanoseconds; None like its size.
      at: when it was scored, ISO 8601 in UTC, to the second.
      score: larger is more anomalous; None where there is an error.
      p_value: of the score among good photographs.
      decision: what the score means; None where nothing was calibrated.
      unusual: as ``Prediction.unusual``.
      clipped: as ``Prediction.clipped``.
      drift: whether the photographs have drifted away from those learned from.
      regions: as ``Prediction.regions``, with 'box', 'area' and 'peak'.
      picture: its heat map below the directory, None where none is drawn.
      error: why it could not be scored, None where it was.
    """

    file: str
    category: str
    bytes: int | None
    modified: int | None
    at: str
    score: float | None
    p_value: float | None
    decision: Decision | None
    unusual: float | None
    clipped: bool
    drift: bool
    regions: Sequence[dict]
    picture: str | None
    error: str | None


_FIELDS = {field.name for field in fields(Row)}
_FORM = {
    **dict.fromkeys(("file", "category", "at"), str),
    **dict.fromkeys(("bytes", "modified"), (int,)),
    **dict.fromkeys(("score", "p_value", "unusual"), (float,)),
    **dict.fromkeys(("decision", "picture", "error"), (str,)),
    **dict.fromkeys(("clipped", "drift"), bool),
    "regions": [{"box": [int], "area": int, "peak": float}],
}
Identity = tuple[str, int | None, int | None]


class Known(NamedTuple):
    """What became of a file when it was last tried, see ``outcome_of``, and why it failed."""

    outcome: str
    error: str | None


def outcome_of(row: dict) -> str:
    """What became of a photograph: its decision, 'scored' without one, or 'error'."""
    return "error" if row["error"] else row["decision"] or "scored"


def identity(path: Path) -> Identity:
    """What a file is known again by: ``file``, ``bytes`` and ``modified`` of its row.

    It is to be taken before the file is read, so that a later change makes another file of it.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):  # of a name with a zero byte
        return str(path.absolute()), None, None
    return str(path.absolute()), status.st_size, status.st_mtime_ns


class PredictionLog:
    """The rows of a directory, which one process at a time may open and add to.

    Attributes:
      rows: the newest rows, at most ``RECENT``, in order, as dicts with the fields of ``Row``.
      count: how many there are in all.
      last: what became of every file, by what it is known again by.
    """

    def __init__(
        self,
        directory: Path,
        fingerprint: str,
        *,
        see: Callable[[dict], None] = lambda row: None,
    ):
        """Nothing is read or written before the block begins.

        Args:
          directory: where the files are; it is made.
          fingerprint: of the detector, whose rows alone may be there.
          see: is shown every row that is there when the block begins, in order.
        """
        self.rows: deque[dict] = deque(maxlen=RECENT)
        self.count = 0
        self.last: dict[Identity, Known] = {}
        self._directory, self._fingerprint, self._see = directory, fingerprint, see

    def __enter__(self) -> "PredictionLog":
        """Reads the rows, drops a line that a kill cut short and writes the table anew.

        Raises:
          UserError: the directory is a file, in use by another process or holds the rows of another
            detector, or a line is damaged.
          OSError: the disk is full or may not be written to.
        """
        with ExitStack() as stack:
            self._lock(stack)
            self._lines = stack.enter_context((self._directory / LINES_FILE).open("a+b"))
            table = self._directory / TABLE_FILE
            remove_partials(table)
            with partial_path(table) as partial, partial.open("w", **_TABLE_FORMAT) as file:
                self._read(csv.writer(file))
            self._table = stack.enter_context(table.open("a", **_TABLE_FORMAT))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def append(self, rows: Sequence[Row]) -> None:
        """Adds rows; once this returns they outlast a kill, and none is there in part.

        Raises:
          ValueError: a number is not finite; nothing is written.
          OSError: the disk is full.
        """
        records = [asdict(row) for row in rows]
        self._write(records)
        self._remember(records)
        csv.writer(self._table).writerows(map(_cells, records))
        self._table.flush()

    def _lock(self, stack: ExitStack) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(self._directory / LINES_FILE, wait=False))
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(
                f"--out is '{self._directory}', where a file lies; give a directory."
            ) from error
        except BlockingIOError as error:
            raise UserError(
                f"--out is '{self._directory}', to which another process is writing; wait for it, "
                "or give another --out."
            ) from error

    def _read(self, table: Any) -> None:
        """Reads, checks and remembers all rows, and writes them into a new table."""
        table.writerow(_COLUMNS)
        self.rows.clear()
        self.count, self.last = 0, {}
        self._lines.seek(0)
        end = 0
        for number, line in enumerate(self._lines, 1):
            if not line.endswith(b"\n"):
                break
            record = self._parsed(line, number)
            if number > 1:
                self._remember([record])
                self._see(record)
                table.writerow(_cells(record))
            end += len(line)
        self._lines.truncate(end)
        if not end:
            self._write([{"schema": SCHEMA, "fingerprint": self._fingerprint}])

    def _parsed(self, line: bytes, number: int) -> dict:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        expected = {"schema": SCHEMA, "fingerprint": self._fingerprint}
        if number == 1 and record != expected:
            raise UserError(
                f"--out is '{self._directory}', which holds the predictions of another detector or "
                f"version ('{LINES_FILE}' begins with {_shown(line)}, not {json.dumps(expected)}); "
                "give another --out, or delete it."
            )
        if number > 1 and not is_row(record):
            raise UserError(
                f"line {number} of '{self._directory / LINES_FILE}' is no prediction but "
                f"{_shown(line)}; remove it, and its file is scored again, or give another --out."
            )
        return record

    def _write(self, records: Sequence[dict]) -> None:
        """Writes lines in ASCII: that keeps names that are not UTF-8, too."""
        lines = [json.dumps(record, allow_nan=False) + "\n" for record in records]
        self._lines.write("".join(lines).encode("ascii"))
        self._lines.flush()
        os.fsync(self._lines.fileno())

    def _remember(self, records: Sequence[dict]) -> None:
        self.rows += records
        self.count += len(records)
        for one in records:
            its_identity = one["file"], one["bytes"], one["modified"]
            self.last[its_identity] = Known(sys.intern(outcome_of(one)), one["error"])


def is_row(record: object) -> bool:
    """Whether a record from JSON may be what ``Row`` was written as."""
    if find_mismatch(record, _FORM) or record.keys() != _FIELDS:
        return False
    try:
        datetime.fromisoformat(record["at"])
    except ValueError:
        return False
    unusual = record["unusual"]
    return (
        record["decision"] in (None, *get_args(Decision))
        and (record["score"] is None) == bool(record["error"])
        and (unusual is None or 0 < unusual <= 1)
        and all(len(region["box"]) == 4 for region in record["regions"])
    )


def _shown(line: bytes) -> str:
    """The beginning of a line as a message shows it."""
    return repr(line[:200].decode("ascii", "backslashreplace").strip())


def _cells(record: dict) -> list:
    """A row of the table; of several regions the first is told."""
    regions = record["regions"]
    region = [*regions[0]["box"], regions[0]["area"], regions[0]["peak"]] if regions else [""] * 6
    first = [record[name] for name in _COLUMNS[: _COLUMNS.index("regions")]]
    return [*first, len(regions), *region]
