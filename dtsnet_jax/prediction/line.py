"""The line on which photographs are scored, one after the other, and written down."""

import errno
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from dtsnet_jax.errors import UserError, first_line
from dtsnet_jax.prediction.detector import Detector
from dtsnet_jax.prediction.detectors import Detectors
from dtsnet_jax.prediction.history import History
from dtsnet_jax.prediction.log import Identity, PredictionLog, Row, identity, outcome_of
from dtsnet_jax.prediction.photographs import Opened
from dtsnet_jax.prediction.prediction import Prediction, told_of
from dtsnet_jax.prediction.sorting import SORTED_FOLDERS, sort_file


@dataclass(frozen=True)
class PredictionOptions:
    """What to score and what to do with it.

    Attributes:
      images: a file, a directory, a pattern, or '-' for paths from standard input.
      out: the directory of what is written.
      watch: whether ``images`` is a directory in which photographs go on appearing.
      sort: 'copy' or 'move' photographs into folders of ``out`` by what was decided; '' does not.
      heatmaps: whether a picture of every photograph is written.
    """

    images: str
    out: Path
    watch: bool = False
    sort: str = ""
    heatmaps: bool = True


class _Read(NamedTuple):
    """A photograph that was decoded, or why it could not be."""

    identity: Identity
    category: str
    opened: Opened | None
    error: str | None


class _Batch(NamedTuple):
    """Photographs whose rows wait for their pictures."""

    rows: list[Row]
    pictures: list[Future[bool] | None]


class Line:
    """Photographs go through here: decoding ahead in threads, scoring in batches, writing down.

    A photograph's row is written after its picture, and before it is moved. What could not be
    scored at an earlier start is tried again, once.

    Attributes:
      counts: how many of the photographs that have come were decided upon how, see ``outcome_of``.
    """

    def __init__(
        self,
        detectors: Detectors,
        log: PredictionLog,
        options: PredictionOptions,
        history: History,
    ):
        self._detectors, self._log, self._options = detectors, log, options
        self._history = history
        self._tried: set[Identity] = set()
        self.counts: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor()
        self._bar = tqdm(desc="scoring", unit="image", delay=1)

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._bar.close()

    def score(self, paths: Sequence[Path]) -> None:
        """Scores those of the photographs that have not been scored; returns when all is written.

        Raises:
          UserError: the detector of a photograph cannot be loaded, or its scores are not finite.
          OSError: the disk is full or may not be written to.
        """
        self._bar.total = self._bar.n + len(paths)
        waiting: deque[_Batch] = deque()
        for batch in self._batches(self._read_ahead(paths)):
            waiting.append(self._score_batch(batch))
            if len(waiting) > 1:  # pictures are drawn while the next batch is computed
                self._write(waiting.popleft())
        while waiting:
            self._write(waiting.popleft())

    def _read_ahead(self, paths: Sequence[Path]) -> Iterator[_Read]:
        waiting: deque[Future[_Read]] = deque()
        for path in paths:
            its_identity = identity(path)
            last = self._log.last.get(its_identity)
            if its_identity in self._tried or (last and not last.error):
                if its_identity not in self._tried:
                    self._finish(its_identity, last.outcome)
                self._bar.update()
                continue
            self._tried.add(its_identity)
            category = self._detectors.category_of(path)
            detector = self._detectors.of(category) if category else None
            waiting.append(self._pool.submit(self._read, path, its_identity, category, detector))
            if len(waiting) > (detector.ahead if detector else 0):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _read(
        self, path: Path, its_identity: Identity, category: str, detector: Detector | None
    ) -> _Read:
        if detector is None:
            return _Read(its_identity, category, None, self._detectors.describe_missing(path))
        try:
            if path.exists() and not path.is_file():
                return _Read(its_identity, category, None, f"'{path}' is no file")
            return _Read(its_identity, category, detector.open(path), None)
        except Exception as error:  # whatever is wrong with one file, the others are scored
            return _Read(its_identity, category, None, first_line(error))

    def _batches(self, reads: Iterable[_Read]) -> Iterator[list[_Read]]:
        """Groups of photographs of one category that fill a batch, with the errors among them."""
        batch: list[_Read] = []
        for read in reads:
            if batch and (read.category != batch[0].category or self._is_full(batch)):
                yield batch
                batch = []
            batch.append(read)
        if batch:
            yield batch

    def _is_full(self, batch: list[_Read]) -> bool:
        if not batch[0].category:
            return True
        size = self._detectors.of(batch[0].category).batch_size
        arrays = sum(len(read.opened.arrays) for read in batch if read.opened)
        return max(arrays, len(batch)) >= size

    def _score_batch(self, batch: list[_Read]) -> _Batch:
        """Scores a batch and begins to draw its pictures."""
        opened = [read.opened for read in batch if read.opened]
        scored: Iterator[Prediction] = iter(())
        if opened:
            scored = iter(self._detectors.of(batch[0].category).predict(opened))
        rows, pictures = [], []
        for read in batch:
            prediction = next(scored) if read.opened else None
            name, picture = None, None
            if prediction and self._options.heatmaps:
                name = self._history.next_picture(_name(read))
                picture = self._pool.submit(_draw, prediction, self._options.out / name)
            pictures.append(picture)
            rows.append(self._row(read, prediction, name))
        return _Batch(rows, pictures)

    def _row(self, read: _Read, prediction: Prediction | None, picture: str | None) -> Row:
        file, size, modified = read.identity
        at = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"file": file, "bytes": size, "modified": modified, "at": at}
        about |= {"category": read.category, "picture": picture, "error": read.error}
        drift = prediction is not None and self._history.watch(read.category).see(
            prediction.unusual, file, at
        )
        return Row(**about, **told_of(prediction, drift=drift))

    def _write(self, batch: _Batch) -> None:
        pictures = [picture is not None and picture.result() for picture in batch.pictures]
        rows = [
            row if drawn else replace(row, picture=None)
            for row, drawn in zip(batch.rows, pictures, strict=True)
        ]
        self._log.append([row for row in rows if not self._is_known_error(row)])
        for row in rows:
            self._finish((row.file, row.bytes, row.modified), outcome_of(vars(row)))
        self._bar.update(len(rows))

    def _is_known_error(self, row: Row) -> bool:
        last = self._log.last.get((row.file, row.bytes, row.modified))
        return last is not None and last.error == row.error

    def _finish(self, its_identity: Identity, outcome: str) -> None:
        """Counts a photograph and puts it where it belongs, unless it is another one by now.

        In a directory that is watched, what cannot be read may be a file that is still written.
        """
        self.counts[outcome] += 1
        path = Path(its_identity[0])
        unfinished = outcome == "error" and self._options.watch
        if not self._options.sort or outcome not in SORTED_FOLDERS or unfinished:
            return
        if identity(path) != its_identity or not path.is_file():
            return
        try:
            sort_file(path, self._options.out, outcome, move=self._options.sort == "move")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            tqdm.write(f"'{path}' stays where it is: {first_line(error)}")


def _name(read: _Read) -> str:
    """The name of a photograph as part of another, with what any system can write."""
    stem = Path(read.identity[0]).stem[:80]
    return "".join(c if c.isalnum() or c in "-_. " else "_" for c in stem)


def _draw(prediction: Prediction, path: Path) -> bool:
    """Writes a picture; returns whether it could be, for the photograph may be gone by now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        picture = prediction.picture()
    except UserError:
        return False
    picture.save(path, quality=90)
    return True
