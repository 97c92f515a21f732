"""What came before a photograph: the drift of its category, the pictures that were drawn."""

from tqdm import tqdm

from dtsnet_jax.prediction.detectors import Detectors
from dtsnet_jax.prediction.drift import DriftTest, describe_drift

HEATMAPS = "heatmaps"


class DriftWatch:
    """Tells of drift in the photographs of a category, when it begins and when it ends."""

    def __init__(self, category: str, calibration_images: int):
        self._category = category
        self._test = DriftTest(calibration_images) if calibration_images else None
        self._first, self._count = "", 0  # of the photographs from ``DriftTest.since`` on

    def see(self, unusual: float | None, file: str, at: str, *, silent: bool = False) -> bool:
        """Takes the next photograph; returns whether there is drift.

        Args:
          unusual: as ``Prediction.unusual``.
          file: its name.
          at: when it was scored.
          silent: whether nothing is said, because it has been before.
        """
        if self._test is None or unusual is None:
            return False
        before = self._test.alarmed
        alarmed = self._test.update(unusual)
        if self._test.since is None:
            self._count = 0
        else:
            self._first = self._first if self._count else f"{file}, {at}"
            self._count += 1
        if alarmed != before and not silent:
            text = "the photographs look like those of training again"
            if alarmed:
                text = describe_drift(self._first, self._count)
            tqdm.write(f"{self._category}: {text}")
        return alarmed


class History:
    """What earlier photographs leave behind, of this start and of those before.

    Attributes:
      drawn: the number of the newest picture, with which its name begins.
    """

    def __init__(self, detectors: Detectors):
        """Begins without photographs.

        Args:
          detectors: tell how many calibration images a category has.
        """
        self.drawn = 0
        self._detectors = detectors
        self._watches: dict[str, DriftWatch] = {}

    def see_again(self, row: dict) -> None:
        """Takes what an earlier start has written down, row by row in order."""
        if row["picture"]:
            self.drawn = max(self.drawn, _number(row["picture"]))
        if not row["error"]:
            watch = self.watch(row["category"])
            watch.see(row["unusual"], row["file"], row["at"], silent=True)

    def watch(self, category: str) -> DriftWatch:
        """Who watches for drift in a category."""
        if category not in self._watches:
            images = len(self._detectors.of(category).calibration.scores)
            self._watches[category] = DriftWatch(category, images)
        return self._watches[category]

    def next_picture(self, name: str) -> str:
        """Where below the directory the next picture goes."""
        self.drawn += 1
        return f"{HEATMAPS}/{self.drawn:06}_{name}.jpg"


def _number(picture: str) -> int:
    """The number that the name of a picture begins with, 0 where it has none."""
    number = picture.removeprefix(f"{HEATMAPS}/").partition("_")[0]
    return int(number) if number.isdecimal() else 0
