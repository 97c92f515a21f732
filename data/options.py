"""What can be chosen about the synthesis; free of TensorFlow, so that it is cheap to import."""

from dataclasses import dataclass
from typing import Literal

MaskKind = Literal["intersection", "union", "first", "second"]
MASK_KINDS: tuple[MaskKind, ...] = ("intersection", "union", "first", "second")


@dataclass(frozen=True)
class SynthesisOptions:
    """How an anomaly is drawn; the defaults are the paper's.

    Attributes:
      masks: M is one of these, each as likely: the intersection or union of two Perlin masks, or
        the first or second of them alone.
      opacity: bounds of the uniform β.
      opacity_of: what β weighs in the mixture, the 'normal' image (paper) or the 'texture'
        (released code).
    """

    masks: tuple[MaskKind, ...] = ("intersection", "union")
    opacity: tuple[float, float] = (0.15, 1.0)
    opacity_of: Literal["normal", "texture"] = "normal"
