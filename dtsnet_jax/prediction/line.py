"""The line on which photographs are scored, one after the other, and written down."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from dtsnet_jax.errors import first_line
from dtsnet_jax.prediction.detector import Detector
from dtsnet_jax.prediction.detectors import Detectors
from dtsnet_jax.prediction.drift import DriftTest, describe_drift
from dtsnet_jax.prediction.log import Identity, PredictionLog, Row, identity, outcome_of
from dtsnet_jax.prediction.photographs import Opened
from dtsnet_jax.prediction.prediction import Prediction
from dtsnet_jax.prediction.sorting import SORTED_FOLDERS, sort_file

HEATMAPS = "heatmaps"
AHEAD = 4  # batches that are decoded while others are computed


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
    pictures: list[Future]


class DriftWatch:
    """Tells of drift in the photographs of a category, when it begins and when it ends."""

    def __init__(self, category: str, calibration_images: int):
        self._category = category
        self._test = DriftTest(calibration_images) if calibration_images else None
        self._seen: list[str] = []

    def see(self, unusual: float | None, file: str, at: str, *, silent: bool = False) -> bool:
        """Takes the next photograph; returns whether there is drift.

        Args:
          unusual: as ``Prediction.unusual``.
          file: its name.
          at: when it was scored.
          silent: whether nothing is said, because it has been before.
        """
        if self._test is None or unusual is None:
            return False
        before = self._test.alarmed
        self._seen.append(f"{file}, {at}")
        alarmed = self._test.update(unusual)
        if alarmed != before and not silent:
            text = "the photographs look like those of training again"
            if alarmed:
                since = self._test.since
                text = describe_drift(self._seen[since], len(self._seen) - since)
            tqdm.write(f"{self._category}: {text}")
        return alarmed


class Line:
    """Photographs go through here: decoding ahead in threads, scoring in batches, writing down.

    A photograph's row is written after its picture, and before it is moved.
    """

    def __init__(self, detectors: Detectors, log: PredictionLog, options: PredictionOptions):
        self._detectors, self._log, self._options = detectors, log, options
        self._outcomes = {(r["file"], r["bytes"], r["modified"]): outcome_of(r) for r in log.rows}
        self._drawn = sum(row["picture"] is not None for row in log.rows)
        self._watches: dict[str, DriftWatch] = {}
        self._pool = ThreadPoolExecutor()
        self._bar = tqdm(desc="scoring", unit="image", delay=1)

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._bar.close()

    def score(self, paths: Iterable[Path]) -> None:
        """Scores those of the photographs that have not been scored; returns when all is written.

        Raises:
          UserError: the detector of a photograph cannot be loaded.
          OSError: the disk is full or may not be written to.
        """
        with suppress(TypeError):  # an iterator has no length
            self._bar.total = self._bar.n + len(paths)
        waiting: deque[_Batch] = deque()
        for batch in self._batches(self._read_ahead(paths)):
            waiting.append(self._score_batch(batch))
            if len(waiting) > 1:  # pictures are drawn while the next batch is computed
                self._write(waiting.popleft())
        while waiting:
            self._write(waiting.popleft())

    def _read_ahead(self, paths: Iterable[Path]) -> Iterator[_Read]:
        waiting: deque[Future[_Read]] = deque()
        for path in paths:
            its_identity = identity(path)
            if its_identity in self._outcomes:
                self._sort(path, self._outcomes[its_identity], again=True)
                self._bar.update()
                continue
            self._outcomes[its_identity] = ""  # so that it is not read twice
            category = self._detectors.category_of(path)
            detector = self._detectors.of(category) if category else None
            waiting.append(self._pool.submit(self._read, path, its_identity, category, detector))
            if len(waiting) > (AHEAD * detector.batch_size if detector else 0):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _read(
        self, path: Path, its_identity: Identity, category: str, detector: Detector | None
    ) -> _Read:
        if detector is None:
            return _Read(its_identity, category, None, self._detectors.describe_missing(path))
        try:
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
            picture = None
            if prediction and self._options.heatmaps:
                self._drawn += 1
                picture = f"{HEATMAPS}/{self._drawn:06}_{_name(read)}.jpg"
                path = self._options.out / picture
                pictures.append(self._pool.submit(_draw, prediction, path))
            rows.append(self._row(read, prediction, picture))
        return _Batch(rows, pictures)

    def _row(self, read: _Read, prediction: Prediction | None, picture: str | None) -> Row:
        file, size, modified = read.identity
        at = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"file": file, "bytes": size, "modified": modified, "at": at}
        about |= {"category": read.category, "picture": picture, "error": read.error}
        if prediction is None:
            nothing = dict.fromkeys(("score", "p_value", "decision", "unusual"))
            return Row(**about, **nothing, drift=False, regions=[])
        return Row(
            **about,
            score=prediction.score,
            p_value=prediction.p_value,
            decision=prediction.decision,
            unusual=prediction.unusual,
            drift=self._watch(read.category).see(prediction.unusual, file, at),
            regions=[region._asdict() for region in prediction.regions],
        )

    def _watch(self, category: str) -> DriftWatch:
        """Who watches for drift in a category, with all that has been seen before."""
        if category not in self._watches:
            detector = self._detectors.of(category)
            watch = DriftWatch(category, len(detector.calibration.scores))
            for row in self._log.rows:
                if row["category"] == category and not row["error"]:
                    watch.see(row["unusual"], row["file"], row["at"], silent=True)
            self._watches[category] = watch
        return self._watches[category]

    def _write(self, batch: _Batch) -> None:
        for picture in batch.pictures:
            picture.result()
        self._log.append(batch.rows)
        for row in batch.rows:
            outcome = outcome_of(vars(row))
            self._outcomes[row.file, row.bytes, row.modified] = outcome
            self._sort(Path(row.file), outcome)
        self._bar.update(len(batch.rows))

    def _sort(self, path: Path, outcome: str, *, again: bool = False) -> None:
        """Puts a photograph where it belongs; one that was copied before is not copied again."""
        move = self._options.sort == "move"
        if self._options.sort and outcome in SORTED_FOLDERS and (move or not again):
            with suppress(FileNotFoundError):  # it has vanished meanwhile
                sort_file(path, self._options.out, outcome, move=move)


def _name(read: _Read) -> str:
    """The name of a photograph as part of another, with what any system can write."""
    stem = Path(read.identity[0]).stem[:80]
    return "".join(c if c.isalnum() or c in "-_. " else "_" for c in stem)


def _draw(prediction: Prediction, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    prediction.picture().save(path, quality=90)
