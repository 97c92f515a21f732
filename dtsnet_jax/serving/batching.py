"""Photographs of many requests, scored together as they come."""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from dtsnet_jax.prediction.detector import Detector
from dtsnet_jax.prediction.photographs import Opened
from dtsnet_jax.prediction.prediction import Prediction


class _Waiting(NamedTuple):
    detector: Detector
    opened: Opened
    answer: asyncio.Future[Prediction]


class Batcher:
    """Scores what has come while the last batch was computed; nobody waits for a batch to fill.

    What was first goes first, and with it all that waits for the same detector, as many as it
    computes at once. ``run`` has to be running.
    """

    def __init__(self):
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._compute = ThreadPoolExecutor(1, thread_name_prefix="compute")

    async def predict(self, detector: Detector, opened: Opened) -> Prediction:
        """Scores a decoded photograph.

        Raises:
          Exception: whatever the computation ended with.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(detector, opened, answer))
        self._arrived.set()
        return await answer

    async def run(self) -> None:
        """Scores until it is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._arrived.wait()
                batch = self._next_batch()
                if not batch:
                    self._arrived.clear()
                    continue
                opened = [one.opened for one in batch]
                try:
                    scored = await loop.run_in_executor(
                        self._compute, batch[0].detector.predict, opened
                    )
                except Exception as error:  # whatever it is, it is theirs who wait
                    scored = [error] * len(batch)
                for one, result in zip(batch, scored, strict=True):
                    if not one.answer.done():  # unless nobody waits any more
                        _settle(one.answer, result)
        finally:
            self._compute.shutdown(wait=False, cancel_futures=True)

    def _next_batch(self) -> list[_Waiting]:
        """Takes the next ones of the same detector, and leaves the others in order."""
        batch: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        arrays = 0
        while self._waiting:
            one = self._waiting.popleft()
            if one.answer.cancelled():
                continue
            fits = not batch or (
                one.detector is batch[0].detector
                and arrays + len(one.opened.arrays) <= one.detector.batch_size
            )
            if fits:
                batch.append(one)
                arrays += len(one.opened.arrays)
            else:
                left.append(one)
        self._waiting = left
        return batch


def _settle(answer: asyncio.Future[Prediction], result: Prediction | Exception) -> None:
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
