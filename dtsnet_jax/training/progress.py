"""What a run tells while it works: a live line, one JSON line a record, TensorBoard events."""

import json
import time
from pathlib import Path

from tensorboardX import SummaryWriter
from tqdm import tqdm

from data.files import write_text
from data.forms import parse_json
from dtsnet_jax.devices.processes import is_first
from dtsnet_jax.errors import UserError
from dtsnet_jax.seed_run import METRICS_FORM, SeedRun
from dtsnet_jax.training.schedule import Schedule
from dtsnet_jax.training.step import StepMetrics

METRICS_FILE = "metrics.jsonl"


class Progress:
    """The live line with step, loss, images/s and time left, and the files beside it.

    Of several processes the first one shows and writes all of it, the others nothing.
    """

    def __init__(self, run: SeedRun, schedule: Schedule, *, first_step: int, last_step: int):
        """Opens the files; records of a continued run beyond its checkpoint are dropped.

        Args:
          run: where 'metrics.jsonl' and the TensorBoard events go.
          schedule: tells how many images a step has.
          first_step, last_step: the steps of this session.
        """
        self._file = self._events = None
        if is_first():
            path = run.directory / METRICS_FILE
            kept = [one for one in read_records(run.directory) if one["step"] <= first_step]
            write_text(path, "".join(map(_line, kept)))
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
        speed = {"images_per_second": images / seconds, "seconds": seconds}
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
        self._file.write(_line({"step": step, **values}))
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes out everything and ends the line."""
        self._bar.close()
        if self._file is not None:
            self._file.close()
            self._events.close()


def read_records(directory: Path) -> list[dict]:
    """All records of a run so far: those of steps and, with 'epoch', those of metrics.

    Raises:
      UserError: a line is damaged; one that a kill cut short is left out.
    """
    path = directory / METRICS_FILE
    if not path.is_file():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    return [_record(path, number, line) for number, line in enumerate(lines, start=1)]


def _record(path: Path, number: int, line: bytes) -> dict:
    record, damage = parse_json(line, METRICS_FORM)
    if damage:
        raise UserError(f"line {number} of '{path}' is damaged, {damage}; remove it.")
    return record


def _line(record: dict) -> str:
    return json.dumps(record) + "\n"
