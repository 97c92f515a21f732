"""The newest parts that a server has seen."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from data.files import MemoryFile
from dtsnet_jax.prediction.log import outcome_of
from dtsnet_jax.prediction.prediction import Prediction

NEWEST = 200  # parts that are kept
NEWEST_BYTES = 256 * 2**20  # of photographs and score maps that are kept


@dataclass
class Part:
    """A photograph that was scored, or could not be.

    Attributes:
      number: rises from part to part, and from one start of the server to the next.
      answer: what was said of it: 'file', 'detector', 'at', 'score', 'p_value', 'decision',
        'unusual', 'clipped', 'drift', 'regions' and 'error', as ``dtsnet_jax.prediction.log.Row``.
      file: the photograph, or where it was when it was scored; None where it is no longer kept.
      picture: of a photograph that was scored here its prediction, of one that was scored by
        another process the file of its picture, or None.
      sorted_into: the folder to which another process may have moved ``file``, or None.
      label: 'good' or 'defective' where a person says that the decision is wrong, else ''.
    """

    number: int
    answer: dict
    file: MemoryFile | Path | None
    picture: Prediction | Path | None
    sorted_into: Path | None = None
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
        self._last = time.time_ns() // 1000  # a page that is open knows the last start's numbers
        self._bytes = 0
        self._lock = Lock()

    def add(
        self,
        answer: dict,
        file: MemoryFile | Path,
        picture: Prediction | Path | None,
        sorted_into: Path | None = None,
    ) -> Part:
        """Adds a part; see ``Part``."""
        with self._lock:
            self._last += 1
            part = Part(self._last, answer, file, picture, sorted_into)
            self._parts[part.number] = part
            self._bytes += part.bytes
            if len(self._parts) > NEWEST:
                self._bytes -= self._parts.popitem(last=False)[1].bytes
            for old in self._parts.values():
                if self._bytes <= NEWEST_BYTES:
                    break
                if isinstance(old.file, MemoryFile):
                    self._bytes -= old.bytes
                    old.file = old.picture = None
            return part

    def newest(self, after: int = 0) -> list[Part]:
        """The parts with larger numbers than this, the newest first."""
        with self._lock:
            return [part for part in reversed(self._parts.values()) if part.number > after]

    def find(self, number: int) -> Part | None:
        """A part by its number; None where it is not among the newest."""
        return self._parts.get(number)
