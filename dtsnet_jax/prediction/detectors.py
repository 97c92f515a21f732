"""The detectors of a run with one or several categories."""

from pathlib import Path

from dtsnet_jax.prediction.detector import Detector
from dtsnet_jax.prediction.limits import describe_calibration
from dtsnet_jax.prediction.saved import choose_detectors


class Detectors:
    """The detectors of a run, loaded when a photograph first needs them.

    Attributes:
      fingerprint: of all that decisions depend on, in the photographs of this job.
      loaded: those that were needed, by category.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        category: str | None = None,
        false_alarms: float | None = None,
        review: float | None = None,
    ):
        """Finds them.

        Args:
          workdir: the run's directory, or the file of a detector.
          category: of all photographs; None where there is one, or where of several the folder of
            a photograph is named after its.
          false_alarms, review: as for ``Detector.load``.

        Raises:
          UserError: there are none, or none of the category.
        """
        self._choices = choose_detectors(
            workdir, category=category, false_alarms=false_alarms, review=review
        )
        self.loaded: dict[str, Detector] = {}
        self.fingerprint = "; ".join(
            f"{one.fingerprint[:16]} false_alarms={one.false_alarms} review={one.review}"
            for one in self._choices.values()
        )

    def category_of(self, path: Path) -> str:
        """The category of a photograph; '' where there are several and none is told."""
        if len(self._choices) == 1:
            return next(iter(self._choices))
        named = [folder for folder in path.absolute().parts[:-1] if folder in self._choices]
        return named[-1] if named else ""

    def describe_missing(self, path: Path) -> str:
        """Why a photograph has no category."""
        return (
            f"'{path}' lies in no folder that is named like one of the categories "
            f"({', '.join(self._choices)}); name it with --category."
        )

    def of(self, category: str) -> Detector:
        """The detector of a category; says its limits when it is loaded."""
        if category not in self.loaded:
            detector = Detector.chosen(self._choices[category])
            images = len(detector.calibration.scores)
            lines = describe_calibration(detector.limits, images, detector.false_alarms)
            print("\n".join(f"{category}: {line}" for line in lines), flush=True)
            self.loaded[category] = detector
        return self.loaded[category]
