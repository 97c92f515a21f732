"""TensorFlow without its notices and without GPUs, which belong to JAX.

What needs TensorFlow imports it from here, so that only what synthesises pays for it.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_NOTICE = re.compile(
    r"I\d{4} |\S+ \S+: I |WARNING: All log messages before absl|To enable the following instruction"
)


@contextmanager
def _without_notices() -> Iterator[None]:
    """Holds back what C++ writes to standard error and passes on all but notices afterwards."""
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile("w+", errors="replace") as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            sys.stderr.writelines(line for line in held if not _NOTICE.match(line))


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
with _without_notices():
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    tf.constant(0)  # some notices come with the first operation

__all__ = ["tf"]
