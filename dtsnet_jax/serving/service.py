"""What a server does with a photograph, from its bytes to what is told of it."""

import asyncio
import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from data.files import MemoryFile
from dtsnet_jax.errors import UserError
from dtsnet_jax.prediction.detector import Detector
from dtsnet_jax.prediction.line import DriftWatch
from dtsnet_jax.prediction.log import outcome_of
from dtsnet_jax.prediction.prediction import Prediction
from dtsnet_jax.serving.batching import Batcher
from dtsnet_jax.serving.detectors import ServedDetectors
from dtsnet_jax.serving.metrics import Metrics
from dtsnet_jax.serving.parts import Part, Parts


class Service:
    """Scores photographs; all methods are of one event loop.

    Decoding and drawing have threads of their own, and the devices one.

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
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")
        self._watches: dict[str, DriftWatch] = {}

    async def run(self) -> None:
        """Computes until it is cancelled."""
        try:
            await self._batcher.run()
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, function, *arguments):
        """Calls what takes its time, and not the device's."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def score(self, name: str, file: MemoryFile) -> Part:
        """Scores a photograph and remembers it; what is wrong with it becomes its 'error'.

        Raises:
          UserError: there is no such detector, or it cannot be loaded.
        """
        start = time.monotonic()
        detector = await self.in_thread(self.detectors.__getitem__, name)
        prediction, error = None, None
        try:
            opened = await self.in_thread(detector.open, file)
            prediction = await self._batcher.predict(detector, opened)
        except UserError as its_error:
            error = str(its_error)
        answer = self._answer(name, detector, file.name, prediction, error)
        self.metrics.count(name, outcome_of(answer), answer["drift"], time.monotonic() - start)
        return self.parts.add(answer, file, prediction)

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
        if prediction is None:
            nothing = dict.fromkeys(("score", "p_value", "decision", "unusual"))
            return about | nothing | {"clipped": False, "drift": False, "regions": []}
        images = len(detector.calibration.scores)
        watch = self._watches.setdefault(name, DriftWatch(name, images))
        told = ("score", "p_value", "decision", "unusual", "clipped")
        return about | {
            **{field: getattr(prediction, field) for field in told},
            "drift": watch.see(prediction.unusual, file, at),
            "regions": [region._asdict() for region in prediction.regions],
        }

    async def picture(self, part: Part, kind: Literal["jpeg", "png"]) -> bytes:
        """The photograph of a part beside its heat map.

        Of one that another process scored there is a JPEG file.

        Raises:
          UserError: it is no longer kept.
        """
        try:
            return await self.in_thread(_picture, part.picture, kind)
        except OSError:  # another process has removed it
            return await self.in_thread(_picture, None, kind)


def _picture(picture: Prediction | Path | None, kind: str) -> bytes:
    if picture is None:
        raise UserError("the picture is no longer kept; send the photograph again.")
    if isinstance(picture, Path):
        return picture.read_bytes()
    buffer = io.BytesIO()
    picture.picture().save(buffer, format=kind, quality=90)
    return buffer.getvalue()
