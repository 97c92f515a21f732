"""The detectors of a server: by name, loaded when needed, with limits that can be changed."""

import json
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from data.files import read_json, write_text
from dtsnet_jax.errors import UserError
from dtsnet_jax.prediction.detector import Detector
from dtsnet_jax.prediction.limits import check_rates
from dtsnet_jax.prediction.saved import choose_detectors

LIMITS_FILE = "limits.json"
MOST_LOADED = 4  # detectors; with one more the least recently used one leaves
_LIMITS_FORM = {str: {"false_alarms": float, "review": float}}


class ServedDetectors:
    """The detectors of a run by category; any number of threads may ask at once.

    Attributes:
      names: of all.
    """

    def __init__(
        self,
        workdir: Path,
        out: Path,
        *,
        category: str | None = None,
        false_alarms: float | None = None,
        review: float | None = None,
    ):
        """Finds them; the rates of OUT/limits.json go before the run's, and those given before all.

        Args:
          workdir, category, false_alarms, review: as for ``choose_detectors``.
          out: where limits are kept that are changed.

        Raises:
          UserError: there are none, or the file of limits is damaged.
        """
        self._file = out / LIMITS_FILE
        self._kept = _read_rates(self._file)
        self._choices = choose_detectors(
            workdir,
            category=category,
            false_alarms=false_alarms,
            review=review,
            kept=self._kept,
        )
        self.names = tuple(self._choices)
        self._loaded: OrderedDict[str, Detector] = OrderedDict()
        self._lock = Lock()  # of what is loaded and chosen, never held for long
        self._loading = {name: Lock() for name in self.names}

    def find(self, name: str) -> Detector | None:
        """A detector that is loaded, at once; None where it is not."""
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
            return self._loaded.get(name)

    def __getitem__(self, name: str) -> Detector:
        """The detector of one of the names; it is loaded and compiled if it is not yet.

        Raises:
          UserError: its file is damaged.
        """
        with self._loading[name]:
            detector = self.find(name)
            if detector is not None:
                return detector
            detector = Detector.chosen(self._choices[name])
            detector.compile()
            with self._lock:
                choice = self._choices[name]  # limits may have been changed meanwhile
                rates = {"false_alarms": choice.false_alarms, "review": choice.review}
                self._loaded[name] = detector.with_rates(**rates)
                if len(self._loaded) > MOST_LOADED:
                    self._loaded.popitem(last=False)
                return self._loaded[name]

    @property
    def loaded(self) -> list[str]:
        """The names of those that are loaded."""
        with self._lock:
            return list(self._loaded)

    def set_rates(self, name: str, *, false_alarms: float, review: float) -> Detector:
        """Changes the limits of a detector, and writes them down for the next start.

        Returns:
          The detector.

        Raises:
          UserError: the rates cannot be, or it has too few calibration images.
          OSError: the disk is full or may not be written to.
        """
        rates = {"false_alarms": false_alarms, "review": review}
        detector = self[name].with_rates(**rates)
        if detector.limits is None:
            raise UserError(
                f"'{name}' has {len(detector.calibration.scores)} calibration images, too few for "
                "a limit; train it on more photographs of good parts."
            )
        with self._lock:
            kept = self._kept | {name: rates}
            write_text(self._file, json.dumps(kept, indent=2) + "\n")
            self._kept = kept
            self._choices[name] = self._choices[name]._replace(**rates)
            if name in self._loaded:
                self._loaded[name] = detector
        return detector


def _read_rates(file: Path) -> dict[str, dict[str, float]]:
    """The rates that a file of limits keeps, by category; {} where there is none.

    Raises:
      UserError: it is damaged.
    """
    kept = read_json(file, _LIMITS_FORM) or {}
    for name, rates in kept.items():
        try:
            check_rates(**rates)
        except UserError as error:
            raise UserError(
                f"'{file}' cannot be used, of '{name}' {error} Mend or remove that entry."
            ) from error
    return kept
