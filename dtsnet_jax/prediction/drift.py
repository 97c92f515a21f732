"""Whether the good parts still look like those of training: light, camera and product change.

What is tested are the means of the teacher's features over a whole photograph, not its anomaly
score: a local defect moves them little, another light moves them in every photograph.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from scipy import special

LOW = Fraction(1, 10)  # the share of good photographs that count as odd
CONFIDENCE = 0.99  # that no more than the tolerated rate of good parts is odd
DEFECTIVE = 0.05  # the share of parts that may be defective, and all of them odd
RUN_LENGTH = 10_000  # photographs between two false alarms, on average, at least
_FLOOR = 0.1  # of the mean standard deviation of all channels: less counts as this


class Usual(NamedTuple):
    """What the training images look like.

    Attributes:
      mean: (channels,) float64, of the mean features.
      precision: (channels, channels) float32, the inverse of their covariance, shrunk.
    """

    mean: np.ndarray
    precision: np.ndarray


def usual_of(features: np.ndarray) -> Usual:
    """Describes the training images.

    Channels depend on each other: all follow the brightness, say. A change that is small beside
    this, such as of the focus, shows only in how they depend, hence the whole covariance, shrunk
    towards independent channels so that few images suffice (Ledoit and Wolf, 2004).

    Args:
      features: (images, channels), the mean features of all levels in a row.
    """
    from sklearn.covariance import LedoitWolf  # slow to import, seldom needed

    features = np.asarray(features, np.float64)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    unit = np.maximum(deviation, _FLOOR * deviation.mean()) if deviation.any() else 1.0
    precision = LedoitWolf(assume_centered=True).fit((features - mean) / unit).precision_
    return Usual(mean, (precision / np.outer(unit, unit)).astype(np.float32))


def oddness(features: np.ndarray, usual: Usual) -> np.ndarray:
    """How far photographs are from the training images: squared Mahalanobis distance per channel.

    Args:
      features: (images, channels), mean features as for ``usual_of``.
      usual: of the training images.

    Returns:
      (images,) float64, 0 or more.
    """
    centered = (features - usual.mean).astype(np.float32)
    return (centered @ usual.precision * centered).mean(axis=1, dtype=np.float64)


class DriftRule(NamedTuple):
    """What a ``DriftTest`` goes by.

    Attributes:
      odd_below: a photograph is odd whose p-value is smaller.
      if_odd, if_usual: by how much a photograph changes the evidence, which is never below 0.
      threshold: the most evidence there is, which raises the alarm.
    """

    odd_below: float
    if_odd: float
    if_usual: float
    threshold: float


class DriftTest:
    """Raises an alarm when more photographs look odd than good parts can explain.

    A Bernoulli CUSUM (Page, 1954). A photograph is odd where its oddness exceeds the k-th largest
    of n calibration images, good ones that were not trained on; k = LOW · (n + 1) rounded down, at
    least 1. All photographs are compared with the same calibration images, so the rate of odd ones
    among good parts is not k / (n + 1) but drawn once from Beta(k, n + 1 - k). The tolerated rate
    is therefore the 99 % quantile of that distribution, plus a share of 5 % of defective parts,
    all of which may be odd; it is tested against the rate halfway from there to 1.

    What holds: if photographs come independently of each other, good parts look like those of
    calibration and at most 5 % of the parts are defective, then with 99 % confidence, over the
    draw of calibration images, at least ``run_length`` photographs pass on average until a false
    alarm (Lorden, 1971), and again after each. Nothing is promised for the unlucky 1 %, nor for
    photographs that resemble their neighbours. Many defective parts raise the alarm too, for
    whether they are defective is not known here.

    Nothing need be saved: the p-values of before, fed again, restore every attribute.

    Attributes:
      rule: what it goes by.
      tolerated: the rate of odd photographs up to which the above holds.
      changed: the rate that it is tested against.
      shortest: how many odd photographs in a row raise the alarm: few calibration images need many.
      alarmed: the alarm is raised, which lasts until the evidence is gone: about twenty photographs
        after the cause was mended.
      since: how many photographs came before the likely change, or None where nothing points to
        one; it is known before the alarm.
    """

    def __init__(self, calibration_images: int, *, run_length: float = RUN_LENGTH):
        """Begins without evidence.

        Args:
          calibration_images: n, 1 or more.
          run_length: photographs between two false alarms, see above; more than 1.

        Raises:
          ValueError: there are no calibration images.
        """
        n = calibration_images
        if n < 1:
            raise ValueError(f"drift is told by 1 calibration image or more, found {n}")
        odd_ranks = max(1, int(LOW * (n + 1)))
        bound = float(special.betaincinv(odd_ranks, n + 1 - odd_ranks, CONFIDENCE))
        self.tolerated = DEFECTIVE + (1 - DEFECTIVE) * bound
        self.changed = (self.tolerated + 1) / 2
        self.rule = DriftRule(
            odd_below=(odd_ranks + 0.5) / (n + 1),
            if_odd=math.log(self.changed / self.tolerated),
            if_usual=math.log((1 - self.changed) / (1 - self.tolerated)),
            threshold=math.log(run_length),
        )
        self.shortest = math.ceil(self.rule.threshold / self.rule.if_odd)
        self._evidence, self._photographs = 0.0, 0
        self.alarmed, self.since = False, None

    def update(self, p_value: float) -> bool:
        """Takes the next photograph, in the order of arrival.

        Args:
          p_value: of its oddness among that of the n calibration images, see
            ``dtsnet_jax.prediction.limits.p_values``.

        Returns:
          Whether the alarm is raised.

        Raises:
          ValueError: the p-value is not above 0 and at most 1.
        """
        if not 0 < p_value <= 1:
            raise ValueError(f"a p-value lies above 0 and at most at 1, found {p_value}")
        rule = self.rule
        if self._evidence == 0:
            self.since = self._photographs
        step = rule.if_odd if p_value < rule.odd_below else rule.if_usual
        self._evidence = min(max(self._evidence + step, 0.0), rule.threshold)
        self._photographs += 1
        if self._evidence == 0:
            self.alarmed, self.since = False, None
        elif self._evidence == rule.threshold:
            self.alarmed = True
        return self.alarmed


def describe_drift(first: str, photographs: int) -> str:
    """Says that the alarm is raised, in a sentence for the log.

    Args:
      first: the name of the photograph at ``DriftTest.since``.
      photographs: how many came after it.
    """
    return (
        "the photographs no longer look like those of training: light, camera or product changed, "
        f"or many parts are defective, since '{first}' ({photographs} photographs ago)"
    )
