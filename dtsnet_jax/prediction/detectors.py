"""The detectors of a run with one or several categories."""

from pathlib import Path

from dtsnet_jax.prediction.detector import Detector
from dtsnet_jax.prediction.limits import describe_limits, describe_missing
from dtsnet_jax.prediction.saved import find_detectors, read_header


class Detectors:
    """The detectors of a run, loaded when a photograph first needs them.

    Attributes:
      fingerprint: of all that decisions depend on.
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
        self._workdir, self._category = workdir, category
        self._rates = {"false_alarms": false_alarms, "review": review}
        self._found = find_detectors(workdir)
        self.loaded: dict[str, Detector] = {}
        if category is not None:
            self.of(category)
        files = [seeds[min(seeds)] for _, seeds in sorted(self._found.items())]
        names = [read_header(file)["fingerprint"][:16] for file in files]
        rates = [f"{name}={rate}" for name, rate in self._rates.items() if rate is not None]
        self.fingerprint = " ".join([*names, *rates])

    def category_of(self, path: Path) -> str:
        """The category of a photograph; '' where there are several and none is told."""
        if self._category is not None:
            return self._category
        if len(self._found) == 1:
            return next(iter(self._found))
        named = [folder for folder in path.absolute().parts[:-1] if folder in self._found]
        return named[-1] if named else ""

    def describe_missing(self, path: Path) -> str:
        """Why a photograph has no category."""
        return (
            f"'{path}' lies in no folder that is named like one of the categories "
            f"({', '.join(self._found)}); name it with --category."
        )

    def of(self, category: str) -> Detector:
        """The detector of a category; says its limits when it is loaded."""
        if category not in self.loaded:
            detector = Detector.load(self._workdir, category=category, **self._rates)
            images = len(detector.calibration.scores)
            missing = describe_missing(images, detector.false_alarms)
            lines = describe_limits(detector.limits, images) if detector.limits else [missing]
            print("\n".join(f"{category}: {line}" for line in lines), flush=True)
            self.loaded[category] = detector
        return self.loaded[category]
