"""Ctrl-C, SIGTERM and Ctrl-Break, by which a person or a scheduler ends a job."""

import signal
import sys
import threading

from dtsnet_jax.errors import Interrupted

# The last one is Windows' Ctrl-Break.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)


def end_on_signals() -> None:
    """Lets these signals end the job where it stands."""
    for number in SIGNALS:
        signal.signal(number, raise_interrupted)


def raise_interrupted(number: int, _: object) -> None:
    """A signal handler that ends the job where it stands."""
    raise Interrupted(number)


class Interruption:
    """Within the block the first signal is only noted; a second one ends the job where it stands.

    Attributes:
      signal: the number of the signal that has come, None before.
    """

    def __init__(self):
        self.signal: int | None = None
        self._earlier: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # others get no signals
            self._earlier = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        if kind is None:  # the last step has been made
            from dtsnet_jax.devices.processes import largest  # needs JAX, and launch.py this module

            stop = int(largest(self.signal or 0))
            if stop:
                raise Interrupted(stop)

    def _note(self, number: int, frame: object) -> None:
        if self.signal is not None:
            raise_interrupted(number, frame)
        self.signal = number
        print("\nsaving a checkpoint after this step; once more to end at once", file=sys.stderr)
