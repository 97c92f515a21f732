"""What can be chosen about samples of training; free of TensorFlow, so cheap to import."""

from dataclasses import dataclass
from typing import Literal, get_args

MaskKind = Literal["intersection", "union", "first", "second"]
MASK_KINDS: tuple[MaskKind, ...] = ("intersection", "union", "first", "second")
Augmentation = Literal["flips", "quarter_turns", "rotations", "brightness"]
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)


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
