"""What a server does with a photograph, from its bytes to what is told of it."""

import asyncio
import io
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from data.files import MemoryFile
from dtsnet_jax.errors import UserError, first_line
from dtsnet_jax.prediction.detector import Detector
from dtsnet_jax.prediction.history import DriftWatch
from dtsnet_jax.prediction.log import outcome_of
from dtsnet_jax.prediction.photographs import Opened
from dtsnet_jax.prediction.prediction import Prediction, told_of
from dtsnet_jax.serving.batching import Batcher
from dtsnet_jax.serving.detectors import ServedDetectors
from dtsnet_jax.serving.metrics import Metrics
from dtsnet_jax.serving.parts import Part, Parts


class Scored(NamedTuple):
    """A photograph's part, and what the detector said of it; None where it could not be scored."""

    part: Part
    prediction: Prediction | None


class Service:
    """Scores photographs; all methods are of one event loop.

    Decoding has threads of its own, the devices have one, and pictures and whatever else takes its
    time have others.

    Attributes:
      detectors: by name.
      parts: the newest ones.
      metrics: what ``/metrics`` tells.
    """

    def __init__(self, detectors: ServedDetectors):
        self.detectors = detectors
        self.parts = Parts()
        self.metrics = Metrics()
        self._batcher = Batcher()
        self._decoding = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")
        self._loading = {name: asyncio.Lock() for name in detectors.names}
        self._room: dict[str, asyncio.Semaphore] = {}  # for photographs that are open, by detector
        self._watches: dict[str, DriftWatch] = {}

    async def run(self) -> None:
        """Computes until it is cancelled."""
        try:
            await self._batcher.run()
        finally:
            self._decoding.shutdown(wait=False, cancel_futures=True)

    async def detector(self, name: str) -> Detector:
        """A detector by one of the names, loaded if need be.

        Raises:
          UserError: its file is damaged.
        """
        detector = self.detectors.find(name)
        if detector is None:
            async with self._loading[name]:  # those who wait take no thread
                detector = await asyncio.to_thread(self.detectors.__getitem__, name)
        return detector

    async def score(self, name: str, file: MemoryFile) -> Scored:
        """Scores a photograph and remembers it; what is wrong with it becomes its 'error'.

        Raises:
          UserError: the detector's file is damaged.
        """
        start = time.monotonic()
        detector = await self.detector(name)
        room = self._room.setdefault(name, asyncio.Semaphore(detector.ahead))
        async with room:
            opened, error = await self._in_decoding(_open, detector, file)
            prediction = None
            if opened is not None:
                prediction = await self._batcher.predict(detector, opened)
        answer = self._answer(name, detector, file.name, prediction, error)
        self.metrics.count(name, outcome_of(answer), answer["drift"], time.monotonic() - start)
        return Scored(self.parts.add(answer, file, prediction), prediction)

    async def _in_decoding(self, function: Callable, *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decoding, function, *arguments)

    def _answer(
        self,
        name: str,
        detector: Detector,
        file: str,
        prediction: Prediction | None,
        error: str | None,
    ) -> dict:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"file": file, "detector": name, "at": at, "error": error}
        if name not in self._watches:
            self._watches[name] = DriftWatch(name, len(detector.calibration.scores))
        drift = prediction is not None and self._watches[name].see(prediction.unusual, file, at)
        return about | told_of(prediction, drift=drift)


def _open(detector: Detector, file: MemoryFile) -> tuple[Opened | None, str | None]:
    """A photograph that is ready to be scored, or why there is none."""
    try:
        return detector.open(file), None
    except Exception as error:  # whatever is wrong with one file, the others are scored
        return None, first_line(error)


def draw(picture: Prediction | Path | None, kind: Literal["jpeg", "png"]) -> bytes:
    """The photograph beside its heat map, as a file; of another process there is JPEG.

    Raises:
      UserError: it is no longer kept.
    """
    try:
        if isinstance(picture, Path):
            return picture.read_bytes()
        if picture is not None:
            buffer = io.BytesIO()
            picture.picture().save(buffer, format=kind, quality=90)
            return buffer.getvalue()
    except FileNotFoundError:
        pass
    raise UserError("the picture is no longer kept; send the photograph again.")
