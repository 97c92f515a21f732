"""What has to happen beside the steps: losses are looked at, checkpoints saved in time."""

import math
import time
from collections import deque
from collections.abc import Collection, Iterable
from statistics import median

import jax

from data.files import discard
from dtsnet_jax.devices.processes import agreed, is_first, largest, wait_for_all
from dtsnet_jax.errors import Interrupted, UserError
from dtsnet_jax.evaluation.measure import selection_value
from dtsnet_jax.seed_run import SeedRun, newest_step
from dtsnet_jax.training.checkpoints import Checkpoints
from dtsnet_jax.training.interruption import Interruption
from dtsnet_jax.training.progress import Progress
from dtsnet_jax.training.schedule import Schedule
from dtsnet_jax.training.step import StepMetrics, TrainState

STEPS_AHEAD = 2  # so many steps are sent to the devices before the loss of one is waited for
PATIENCE = 50  # steps whose median loss has to be below the first that was recorded
ASK_SECONDS = 5.0  # after so long several processes ask each other whether to go on

_ADVICE = "start a new run with --workdir=DIR and a lower --config.train.learning_rate."


class Watch:
    """Looks at every loss and saves checkpoints: when it is time, at the end, and when interrupted.

    Nothing that is not finite is ever saved.
    """

    def __init__(
        self,
        run: SeedRun,
        schedule: Schedule,
        checkpoints: Checkpoints,
        progress: Progress,
        interruption: Interruption,
        *,
        first_step: int,
        records: Iterable[dict],
        recorded: Collection[int],
    ):
        """Starts the clock.

        Args:
          run, schedule: of the training.
          checkpoints, progress, interruption: open.
          first_step: that training resumes from.
          records: of the training until then.
          recorded: steps whose loss is recorded beside those that ``schedule`` names.
        """
        self._run, self._schedule = run, schedule
        self._checkpoints, self._progress = checkpoints, progress
        self._interruption, self._recorded = interruption, frozenset(recorded)
        self._sent: deque[tuple[int, StepMetrics]] = deque()
        self._saved_at = self._asked = time.monotonic()
        self._asked_at = self._asks_at = first_step
        self._losses: deque[float] = deque(maxlen=PATIENCE)
        losses = (one["loss"] for one in records if "loss" in one)
        self._first_loss = agreed(next(losses, math.inf))

    def add(self, step: int, metrics: StepMetrics) -> None:
        """Takes note of a step that has been sent; waits for the loss of an earlier one."""
        self._sent.append((step, metrics))
        self.settle(ahead=STEPS_AHEAD)

    def settle(self, *, ahead: int = 0) -> None:
        """Waits for all steps but the newest ``ahead``, and records the losses that are due.

        Raises:
          UserError: a loss or a gradient is not finite, or nothing is learned.
        """
        while len(self._sent) > ahead:
            step, sent = self._sent.popleft()
            metrics = StepMetrics(*map(float, jax.device_get(sent)))
            if not math.isfinite(metrics.loss + metrics.gradient_norm):
                raise self._diverged(step, metrics)
            self._losses.append(metrics.loss)
            if step % self._schedule.log_every == 0 or step in self._recorded:
                self._progress.record_step(step, metrics)
                self._check_learning(step, metrics.loss)

    def _check_learning(self, step: int, loss: float) -> None:
        """Compares the newest losses with the first one, which a healthy run soon leaves behind."""
        if math.isinf(self._first_loss):
            self._first_loss = loss
        if step < 2 * PATIENCE or len(self._losses) < PATIENCE:
            return
        newest = median(self._losses)
        if newest >= self._first_loss:
            raise UserError(
                f"training of {self._run.name} learns nothing: the loss of the last {PATIENCE} "
                f"steps up to {step} is {newest:.4g} (median), the first that was recorded "
                f"{self._first_loss:.4g}, with train.learning_rate="
                f"{self._schedule.learning_rate:g}; {_ADVICE}"
            )

    def save(self, step: int, state: TrainState) -> None:
        """Begins to save a checkpoint.

        Raises:
          UserError: a loss or a gradient is not finite.
        """
        self.settle()
        self._checkpoints.save(step, state)
        self._saved_at = time.monotonic()

    def save_if_due(self, step: int, state: TrainState, *, last: bool) -> None:
        """Saves a checkpoint at the end, when it is time, and when the job is to end.

        Raises:
          UserError: a loss or a gradient is not finite.
          Interrupted: the job is to end, and a checkpoint has been saved.
        """
        minutes = (time.monotonic() - self._saved_at) / 60
        due, stop = minutes >= self._schedule.checkpoint_minutes, self._interruption.signal
        if jax.process_count() > 1:
            due, stop = self._agree(step, due, stop, last=last)
        if due or stop or last:
            self.save(step, state)
        if stop:
            raise Interrupted(stop)

    def _agree(self, step: int, due: bool, stop: int | None, *, last: bool) -> tuple[bool, int]:
        """What any process wants, as their clocks and signals differ; nothing unless it is time.

        Processes ask each other every few seconds: at steps that they have agreed on before.
        """
        if step < self._asks_at and not last:
            return False, 0
        self.settle()  # collectives that overlap may wait for each other for ever on a CPU
        now, steps = time.monotonic(), step - self._asked_at
        wait = agreed(ASK_SECONDS * steps / (now - self._asked))
        self._asks_at = step + min(max(int(wait), 1), self._schedule.log_every)
        self._asked_at, self._asked = step, now
        return bool(largest(due)), int(largest(stop or 0))

    def _diverged(self, step: int, metrics: StepMetrics) -> UserError:
        self._checkpoints.wait()
        newest = newest_step(self._run.checkpoints)
        good = "there is no checkpoint"
        if newest is not None:
            good = f"the last good checkpoint is that of step {newest} in '{self._run.checkpoints}'"
        return UserError(
            f"training of {self._run.name} diverged at step {step}: the loss is {metrics.loss:.4g} "
            f"and the norm of its gradient {metrics.gradient_norm:.4g}, with train.learning_rate="
            f"{self._schedule.learning_rate:g}; {good}; {_ADVICE}"
        )


class BestState:
    """Keeps the state that measures best on the test images, for the protocol 'best_on_test'.

    It is on the disk before the checkpoint of the same step, so training never resumes before its
    best state, but for a kill between the two: then the one before the best is still there.
    """

    def __init__(self, run: SeedRun, records: Iterable[dict], first_step: int):
        """Finds the best measurement in the records up to the step that training resumes from."""
        values = [selection_value(one) for one in records if "epoch" in one]
        self._value = agreed(max(values, default=-math.inf))
        if is_first() and run.best.is_dir():
            for path in run.best.iterdir():
                if path.name.isdigit() and int(path.name) > first_step:
                    discard(path)
        wait_for_all("best")
        self._run = run

    @staticmethod
    def _open(run: SeedRun) -> Checkpoints:
        return Checkpoints(run.best, keep=2)

    def save_if_better(self, metrics: dict[str, float], step: int, state: TrainState) -> bool:
        """Saves a state if it is better than all before, and says whether it is."""
        value = agreed(selection_value(metrics))
        if value <= self._value:
            return False
        self._value = value
        with self._open(self._run) as checkpoints:
            checkpoints.save(step, state)
        return True
