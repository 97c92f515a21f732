"""What a run tells while it works: a live line, one JSON line a record, TensorBoard events."""

import json
import time
from pathlib import Path

import jax
from tensorboardX import SummaryWriter
from tqdm import tqdm

from dtsnet_jax.processes import is_first

METRICS_FILE = "metrics.jsonl"


class Progress:
    """The live line with step, loss, images/s and time left, and the files beside it.

    Of several processes the first one shows and writes all of it, the others nothing.
    """

    def __init__(self, directory: Path, *, first_step: int, last_step: int, batch_size: int):
        """Opens the files; records of a continued run beyond its checkpoint are dropped.

        Args:
          directory: where 'metrics.jsonl' and the TensorBoard events go.
          first_step, last_step: the steps of this session.
          batch_size: images a step.
        """
        self.directory = directory
        self._file = self._events = None
        if is_first():
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / METRICS_FILE
            _keep_records_until(path, first_step)
            self._file = path.open("a")
            self._events = SummaryWriter(str(directory), purge_step=first_step + 1)
        self._bar = tqdm(
            total=last_step * batch_size,
            initial=first_step * batch_size,
            desc=f"{directory.parent.name} {directory.name}",
            unit="image",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not is_first(),
        )
        self._batch_size, self._last_step = batch_size, last_step
        self._due: tuple[int, jax.Array] | None = None  # the loss to be fetched next
        self._last_record, self._last_time = first_step, time.monotonic()

    def record_loss(self, step: int, loss: jax.Array) -> None:
        """Records the loss of a step when the next one is due.

        So the devices always have work, and the host never runs further ahead than from one
        record to the next.
        """
        self.fetch_due()
        self._due = step, loss

    def fetch_due(self) -> None:
        """Waits for the loss that is due, moves the live line to its step and writes it down."""
        if self._due is None:
            return
        (step, loss), self._due = self._due, None
        loss = float(loss)
        now = time.monotonic()
        seconds = now - self._last_time
        images = (step - self._last_record) * self._batch_size
        self._last_record, self._last_time = step, now
        self._write(step, {"loss": loss, "images_per_second": images / seconds, "seconds": seconds})
        self._bar.set_postfix_str(f"step {step}/{self._last_step} loss {loss:.4f}", refresh=False)
        self._bar.update(step * self._batch_size - self._bar.n)

    def record_metrics(self, step: int, epoch: int, metrics: dict[str, float]) -> None:
        """Records what was measured on the test images; the time it took is not training's."""
        self.fetch_due()
        self._write(step, {"epoch": epoch, **metrics})
        self._last_time = time.monotonic()

    def _write(self, step: int, values: dict[str, float]) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes out everything and ends the line."""
        self.fetch_due()
        self._bar.close()
        if self._file is not None:
            self._file.close()
            self._events.close()


def read_records(directory: Path) -> list[dict]:
    """All records of a run so far: those of the loss and, with 'epoch', those of metrics."""
    path = directory / METRICS_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _keep_records_until(path: Path, step: int) -> None:
    if path.is_file():
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        path.write_text("".join(kept))
