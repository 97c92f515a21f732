"""A trace of some training steps, to see where their time goes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from dtsnet_jax.devices.processes import is_first


class Profile:
    """Traces the steps that were asked for, for TensorBoard's profiler and Perfetto.

    Of several processes the first one does.
    """

    def __init__(self, directory: Path, steps: tuple[int, ...]):
        """Nothing is traced before the first of the steps.

        Args:
          directory: where 'plugins/profile/TIME' goes.
          steps: the first and the last step to trace, or () for none.
        """
        self._directory, self._tracing = directory, False
        self._steps = range(steps[0], steps[1] + 1) if steps and is_first() else range(0)

    @contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Names what is done for a step; the trace begins with the first that is to be traced."""
        if step not in self._steps:
            yield
            return
        if not self._tracing:
            jax.profiler.start_trace(self._directory)
            self._tracing = True
        with jax.profiler.StepTraceAnnotation("train", step_num=step):
            yield

    def ends_with(self, step: int) -> bool:
        """Whether the trace is to end with a step; what it has computed is to be waited for."""
        return self._tracing and step == self._steps[-1]

    def close(self) -> None:
        """Ends the trace and writes it, if there is one."""
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()
            print(f"\nprofile: {self._directory / 'plugins' / 'profile'}")
