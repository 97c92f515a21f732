"""What a server takes and gives as JSON."""

from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from dtsnet_jax.prediction.detector import Detector
from dtsnet_jax.prediction.limits import Decision, describe_calibration, find_limit

# The rates of false alarms between which the page's limits are dragged.
_CHOICES = sorted(round(step * 10.0**-power, 4) for power in (1, 2, 3) for step in range(1, 10))


class Region(BaseModel):
    """A part of a photograph beyond the limit, see ``dtsnet_jax.prediction.prediction.Region``."""

    box: tuple[int, int, int, int] = Field(description="left, upper, right, lower in pixels")
    area: int = Field(description="in pixels of the photograph")
    peak: float


class Answer(BaseModel):
    """What is said of a photograph; without a score where there is an error."""

    file: str
    detector: str
    at: str = Field(description="ISO 8601, UTC")
    score: float | None = Field(description="larger is more anomalous")
    p_value: float | None = Field(description="of the score among good photographs")
    decision: Decision | None = Field(description="null where there are no limits")
    unusual: float | None = Field(description="p-value of the photograph as a whole: of light, …")
    clipped: bool = Field(description="whether values lie beyond the bit depth of training")
    drift: bool = Field(description="whether the photographs lately look unlike those learned")
    regions: list[Region] = Field(description="beyond the limit, the highest first, at most 20")
    error: str | None = Field(description="why it could not be scored")
    part: int = Field(description="its number, for /parts")


class ShownPart(Answer):
    """A part as the page shows it."""

    outcome: Literal["OK", "review", "NG", "scored", "error"]
    label: str = Field(description="what a person says it is where the decision is wrong, or ''")
    pictured: bool


class Label(BaseModel):
    """What a part is, whatever was decided; '' takes a correction back."""

    label: Literal["good", "defective", ""]


class Rates(BaseModel):
    """The shares of good parts that may be called NG, and NG or review (0 for no review)."""

    false_alarms: float
    review: float


class Choice(BaseModel):
    """A rate of false alarms and the limit that promises it."""

    rate: float
    score: float


class DetectorAnswer(Rates):
    """A detector, its limits, and what they are made from."""

    name: str
    calibration_scores: list[float] = Field(description="of good photographs, rising")
    review_score: float | None = Field(description="beyond it a part is for review")
    reject_score: float | None = Field(description="beyond it a part is NG")
    description: list[str] = Field(description="the limits in words")
    choices: list[Choice] = Field(description="other limits, rates rising; none without images")


class Refusal(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="one sentence")


class Health(BaseModel):
    """That the server is there."""

    status: Literal["ok"] = "ok"
    version: str
    device: str
    detectors: list[str]
    loaded: list[str]


def describe(name: str, detector: Detector) -> DetectorAnswer:
    """What is told of a detector."""
    scores, limits = np.sort(detector.calibration.scores), detector.limits
    found = ((rate, find_limit(scores, rate)) for rate in _CHOICES)
    return DetectorAnswer(
        name=name,
        false_alarms=detector.false_alarms,
        review=detector.review,
        calibration_scores=scores.tolist(),
        review_score=limits.review.score if limits else None,
        reject_score=limits.reject.score if limits else None,
        description=describe_calibration(limits, len(scores), detector.false_alarms),
        choices=[Choice(rate=rate, score=limit.score) for rate, limit in found if limit],
    )
