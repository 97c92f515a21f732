"""Signals that come after a chosen step of training."""

import os
import signal
from contextlib import contextmanager

import pytest

from dtsnet_jax.errors import Interrupted
from dtsnet_jax.training.watch import Watch


@contextmanager
def signal_after(step, number=signal.SIGTERM):
    """Within the block a signal comes after a step of training."""
    add = Watch.add

    def add_and_signal(watch, at, metrics):
        add(watch, at, metrics)
        if at == step:
            os.kill(os.getpid(), number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watch, "add", add_and_signal)
        yield


@contextmanager
def interrupt_after(step, number=signal.SIGTERM):
    """Within the block training ends after a step, because a signal comes."""
    with signal_after(step, number), pytest.raises(Interrupted) as interrupted:
        yield interrupted
