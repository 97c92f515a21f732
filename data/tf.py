"""TensorFlow without its notices and without GPUs, which belong to JAX.

What needs TensorFlow imports it from here, so that only what synthesises pays for it.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_NOTICE = (
    rb"I\d{4} |\S+ \S+: I |WARNING: All log messages before absl|"
    rb"To enable the following instruction"
)
# A process of its own, so that the last words of one that is aborted are passed on as well.
_FILTER = f"""
import re, sys
for line in sys.stdin.buffer:
    if not re.match({_NOTICE!r}, line):
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
"""


@contextmanager
def _without_notices() -> Iterator[None]:
    """Keeps C++ from writing notices to standard error; everything else is passed on."""
    sys.stderr.flush()
    real = os.dup(2)
    command = [sys.executable, "-I", "-S", "-c", _FILTER]
    # In a session of its own: Ctrl-C and a scheduler's SIGTERM go to all processes of the job's.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=real, start_new_session=True
    ) as passing_on:
        os.dup2(passing_on.stdin.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            os.close(real)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
with _without_notices():
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    tf.constant(0)  # some notices come with the first operation

__all__ = ["tf"]
