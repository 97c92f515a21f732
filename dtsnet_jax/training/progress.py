"""What a run tells while it works: a live line, one JSON line a record, TensorBoard events."""

import time
from collections.abc import Iterable

from tensorboardX import SummaryWriter
from tqdm import tqdm

from data.files import write_text
from dtsnet_jax.devices.processes import is_first
from dtsnet_jax.seed_run import SeedRun
from dtsnet_jax.training.records import METRICS_FILE, record_line
from dtsnet_jax.training.schedule import Schedule
from dtsnet_jax.training.step import StepMetrics


class Progress:
    """The live line with step, loss, images/s and time left, and the files beside it.

    Of several processes the first one shows and writes all of it, the others nothing.
    """

    def __init__(
        self,
        run: SeedRun,
        schedule: Schedule,
        records: Iterable[dict],
        *,
        first_step: int,
        last_step: int,
    ):
        """Opens the files.

        Args:
          run: where 'metrics.jsonl' and the TensorBoard events go.
          schedule: tells how many images a step has.
          records: of earlier sessions, those that are to stay.
          first_step, last_step: the steps of this session.
        """
        self._file = self._events = None
        if is_first():
            path = run.directory / METRICS_FILE
            write_text(path, "".join(map(record_line, records)))
            self._file = path.open("a", encoding="utf-8")
            self._events = SummaryWriter(str(run.directory), purge_step=first_step + 1)
        images = schedule.images_a_step
        self._bar = tqdm(
            total=last_step * images,
            initial=first_step * images,
            desc=run.name,
            unit="image",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not is_first(),
        )
        self._images_a_step, self._last_step = images, last_step
        self._last_record, self._last_time = first_step, time.monotonic()

    def record_step(self, step: int, metrics: StepMetrics) -> None:
        """Moves the live line to a step and writes down its metrics, which are numbers."""
        now = time.monotonic()
        seconds = now - self._last_time
        images = (step - self._last_record) * self._images_a_step
        self._last_record, self._last_time = step, now
        speed = {"seconds": seconds}
        if seconds:  # clocks may stand still between two steps
            speed["images_per_second"] = images / seconds
        self._write(step, metrics._asdict() | speed)
        shown = f"step {step}/{self._last_step} loss {metrics.loss:.4f}"
        self._bar.set_postfix_str(shown, refresh=False)
        self._bar.update(step * self._images_a_step - self._bar.n)

    def record_metrics(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """Records what was measured on the test images; the time it took is not training's."""
        self._write(step, {"epoch": epoch, **metrics})
        self._last_time = time.monotonic()

    def _write(self, step: int, values: dict[str, float]) -> None:
        if self._file is None:
            return
        self._file.write(record_line({"step": step, **values}))
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes out everything and ends the line."""
        self._bar.close()
        if self._file is not None:
            self._file.close()
            self._events.close()
