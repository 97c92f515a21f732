"""What one seed makes of one category: where it lies, what it was made of, how far it has come."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from data.files import locked, read_json, remove, remove_abandoned, write_text
from dtsnet_jax.devices.processes import agreed, from_first, is_first, wait_for_all
from dtsnet_jax.errors import UserError
from dtsnet_jax.training.schedule import Length

DETECTOR_FILE = "detector.safetensors"
RECORD_FORM = {
    "made_from": {str: object},
    "length": {"epochs": int, "visits": int},
    "last_step": int,
    "learned?": {str: str},
    "cached_features?": bool,
}
METRICS_FORM = {
    "step": int,
    "epoch?": int,
    **dict.fromkeys(("loss?", "gradient_norm?", "images_per_second?", "seconds?"), float),
    **dict.fromkeys(("image_auroc?", "pixel_auroc?", "pro?", "pro_per_image?"), float),
}
RESULT_FORM = {
    "seed": object,  # of an ensemble 'all'
    **dict.fromkeys(("step", "trained_to", "last_step", "train_images", "test_images"), int),
    "masks": bool,
    "notes": [str],
    "training_seconds": float,
    "scoring_seconds?": float,
    "metrics": {str: float},
    "thresholds": {str: float},
    "curves": {str: [float]},
    "images": [{"file": str, "defect": str, "score": float}],
    "calibration_scores": [float],
    "records": [METRICS_FORM],
    "gallery?": [{"group": str, "file": str, "source": str, "defect": str, "score": float}],
    "made_from": {"weights": {str: object}},
    "environment": {"device": str, "versions": {str: str}},
}
ADVICE = "start a new run with --workdir=DIR, or delete the old one"


def write_json(path: Path, value: object) -> None:
    """Writes a value as JSON, whole or not at all; of several processes the first one does."""
    if is_first():
        write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class SeedRun:
    """What one seed makes of one category.

    Attributes:
      run: the directory of the run.
      category: the category's name.
      seed: the seed, or 'all' of them together.
    """

    run: Path
    category: str
    seed: int | str

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.category}, seed {self.seed}"

    @property
    def directory(self) -> Path:
        """Where all of it lies."""
        return self.run / self.category / f"seed-{self.seed}"

    @property
    def checkpoints(self) -> Path:
        """The newest states of training."""
        return self.directory / "checkpoints"

    @property
    def best(self) -> Path:
        """The state that measured best on the test images."""
        return self.directory / "best"

    @property
    def bank(self) -> Path:
        """The vectors of the nearest neighbours."""
        return self.directory / "bank.npz"

    @property
    def detector(self) -> Path:
        """What scores new photographs, see ``dtsnet_jax.prediction.saved``."""
        return self.directory / DETECTOR_FILE

    @property
    def gallery(self) -> Path:
        """The pictures of the report."""
        return self.directory / "gallery"

    @property
    def heatmaps(self) -> Path:
        """A picture of every test image."""
        return self.directory / "heatmaps"

    @property
    def _result_file(self) -> Path:
        return self.directory / "result.json"

    @property
    def _record_file(self) -> Path:
        return self.directory / "made_from.json"

    @property
    def trained_step(self) -> int | None:
        """The step that training has reached; 0 for a bank alone; None if there is nothing."""

        def look() -> int | None:
            step = newest_step(self.checkpoints)
            return 0 if step is None and self.bank.is_file() else step

        return from_first(look)

    def record(self) -> dict:
        """What training stored when it began, or {}.

        'made_from': the fingerprint of the weights; 'length' and 'last_step': what they are to
        reach; 'learned': the training images by the hashes of their pixels; 'cached_features':
        whether the teacher's features are kept, absent before that is decided.
        """
        return from_first(lambda: read_json(self._record_file, RECORD_FORM)) or {}

    def check_unchanged(self, made_from: dict[str, str | int | None], last_step: int) -> None:
        """Refuses to continue, or to call finished, what was made from something else.

        Args:
          made_from: the fingerprint that the weights would have now.
          last_step: the step that they are to reach now.

        Raises:
          UserError: the fingerprint differs, or training is beyond that step already.
        """
        step, record = self.trained_step, self.record()
        if step is None:
            return
        for what, now in made_from.items():
            if record.get("made_from", {}).get(what) != now:
                raise UserError(
                    f"'{self.directory}' was trained with other {what} than there are now; "
                    f"{ADVICE}."
                )
        if step > last_step:
            raise UserError(
                f"'{self.directory}' is trained to step {step}, beyond step {last_step} that "
                f"train.epochs or train.visits asks for; set it as it was, {ADVICE}."
            )

    def begin(
        self,
        made_from: dict[str, str | int | None],
        *,
        length: Length,
        last_step: int,
        learned: Callable[[], dict[str, str]],
    ) -> None:
        """Stores what the weights are made from and are to reach; to be called before training.

        ``learned`` gives the training images by the hashes of their pixels; it is asked at the
        first start, for later ones go on with the same.
        """
        record = self.record() if self.trained_step is not None else {}
        if "learned" not in record:
            record = record | {"learned": learned()}
        new = record | {"made_from": made_from, "length": length._asdict(), "last_step": last_step}
        if new != record:
            write_json(self._record_file, new)
        wait_for_all("record")

    def decide_caching(self, cached: bool) -> None:
        """Stores whether the teacher's features are kept, which the last digits depend on."""
        write_json(self._record_file, self.record() | {"cached_features": cached})

    @contextmanager
    def training(self) -> Iterator[None]:
        """Keeps other launches from training the same weights, and clears what killed ones left.

        Raises:
          UserError: another launch is at it.
        """
        with ExitStack() as stack:
            free = True
            if is_first():
                try:
                    lock = self.run / f"{self.category}-seed-{self.seed}"
                    stack.enter_context(locked(lock, wait=False))
                except BlockingIOError:
                    free = False
                else:
                    for directory in (self.directory, self.best):
                        remove_abandoned(directory)
            if not agreed(free):
                raise UserError(
                    f"'{self.directory}' is being trained by another process; wait for it, or "
                    "start a new run with --workdir=DIR."
                )
            yield

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Launches that measure the same wait for each other, and see what the other has stored."""
        lock = self.run / f"{self.category}-seed-{self.seed}-result"
        with locked(lock) if is_first() else nullcontext():
            yield

    def forget_result(self) -> None:
        """Removes the result with its pictures, which are about to be replaced."""
        if is_first():
            self._result_file.unlink(missing_ok=True)
            for path in (self.gallery, self.heatmaps):
                remove(path)
            remove_abandoned(self.directory)

    def result(
        self, last_step: int, *, with_detector: bool = False, **made_from: object
    ) -> dict | None:
        """The stored result, None if it is damaged or not that of these weights at this step.

        Args:
          last_step: the step that the weights were to reach.
          with_detector: whether it counts only with the detector that belongs to it.
          made_from: the parts of its 'made_from' that have to be as given.
        """
        result = from_first(self._read_result)
        if result is None or (with_detector and not from_first(self.detector.is_file)):
            return None
        if not result["trained_to"] == result["last_step"] == last_step:
            return None
        stored = result["made_from"]
        same = all(stored.get(name) == value for name, value in made_from.items())
        return result if same else None

    def _read_result(self) -> dict | None:
        with suppress(UserError):  # it can be measured again
            result = read_json(self._result_file, RESULT_FORM)
            if result is None or len({len(one) for one in result["curves"].values()}) < 2:
                return result
        return None

    def store_result(self, result: dict) -> None:
        """Writes a result, which has 'trained_to' and 'made_from' beside its metrics."""
        write_json(self._result_file, result)


def newest_step(directory: Path) -> int | None:
    """The step of the newest checkpoint in a directory, None without any; changes nothing."""
    if not directory.is_dir():
        return None
    return max(
        (int(path.name) for path in directory.iterdir() if path.name.isdigit()), default=None
    )
