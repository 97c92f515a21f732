"""What can be chosen about pixels and samples; without TensorFlow, so that it imports fast."""

from dataclasses import dataclass
from typing import Literal, get_args

MaskKind = Literal["intersection", "union", "first", "second"]
MASK_KINDS: tuple[MaskKind, ...] = get_args(MaskKind)
Fit = Literal["stretch", "pad", "crop"]
FITS: tuple[Fit, ...] = get_args(Fit)
Augmentation = Literal["flips", "quarter_turns", "rotations", "brightness"]
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)
BIT_DEPTHS = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class PixelOptions:
    """How a photograph becomes an array; the defaults are the paper's.

    Attributes:
      size: height and width of the array.
      fit: what happens to a photograph of another aspect, see ``data.geometry.place``.
      antialias: whether every pixel averages over all that it covers, or, like OpenCV's bilinear
        resizing, only over the four nearest (released code).
      bit_depth: bits a value of files that can hold more than 8; larger values are clipped.
      tile_size: height and width in pixels of the photograph of the tiles that it is cut into, each
        of which becomes an array; 0 takes it whole.
      tile_overlap: pixels of the photograph that neighbouring tiles share at least.
      max_megapixels: larger photographs are refused.
      largest_scale: a padded photograph is not enlarged more than this.
    """

    size: tuple[int, int] = (256, 256)
    fit: Fit = "stretch"
    antialias: bool = True
    bit_depth: int = 16
    tile_size: int = 0
    tile_overlap: int = 0
    max_megapixels: float = 200.0
    largest_scale: float = float("inf")


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
