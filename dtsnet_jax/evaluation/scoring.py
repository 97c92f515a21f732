"""From features to score maps and image scores (paper, Eqs. 9–10)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import ndimage

from dtsnet_jax.model.layers import at_least_float32, cosine_similarity

LevelMaps = tuple[Float[Array, "b h1 w1"], Float[Array, "b h2 w2"], Float[Array, "b h3 w3"]]


@dataclass(frozen=True)
class ScoringOptions:
    """How a detector's answers become score maps.

    Attributes:
      batch_size: images a time.
      smoothing: σ in pixels of the Gaussian over score maps; 0 turns it off.
      levels: which of 1, 2, 3 are added.
      weigh_by_length: whether the distance at a position counts the more, the longer the teacher's
        vector is there, see ``damped_squares``.
      calibrate: whether each level is first divided by its spread on training images.
      top_share: the score of an image is the mean over so many of its pixels, those with the
        largest scores, as a share of what a network sees at once; 0: the largest score.
    """

    batch_size: int
    smoothing: float
    levels: tuple[int, ...]
    weigh_by_length: bool
    calibrate: bool
    top_share: float


class Scores(NamedTuple):
    """What a detector says of several images.

    Attributes:
      maps: (n, height, width) float32; larger is more anomalous, 0 where nothing was looked at.
      images: (n,) float32, of every image one score, see ``ScoringOptions.top_share``.
      valid: (n, height, width) bool, where was looked, or None for everywhere.
    """

    maps: np.ndarray
    images: np.ndarray
    valid: np.ndarray | None


def level_map(
    teacher: Float[Array, "b h w c"], reconstructed: Float[Array, "b h w c"]
) -> Float[Array, "b h w"]:
    """Eq. 9: M = 1 − cos(f_T, f_R) along channels, in [0, 2]."""
    return 1.0 - cosine_similarity(teacher, reconstructed)


def damped_squares(
    vectors: Float[Array, "... c"], damping: Float[Array, ""]
) -> Float[Array, "..."]:
    """The squared length of v / √(|v|² + damping), in [0, 1).

    Directions alone are mostly noise where vectors are short, as they are where there is little to
    see; lengths alone follow brightness and contrast. These vectors are between the two.

    Args:
      vectors: v.
      damping: the mean of |v|² over good images, see ``dtsnet_jax.detectors.lengths``.
    """
    squares = jnp.sum(at_least_float32(vectors) ** 2, axis=-1)
    return squares / (squares + damping)


@cache
def interpolation_matrix(size_in: int, size_out: int) -> np.ndarray:
    """Corner-aligned linear interpolation of ``size_in`` values to ``size_out``, as a matrix.

    Returns:
      float64 of shape (size_out, size_in), rows summing to 1.
    """
    if size_in == 1:
        return np.ones((size_out, 1))
    positions = np.linspace(0.0, size_in - 1.0, size_out)
    return np.maximum(0.0, 1.0 - np.abs(positions[:, None] - np.arange(size_in)[None, :]))


@cache
def smoothing_matrix(size: int, sigma: float) -> np.ndarray:
    """SciPy's ``gaussian_filter1d`` (reflecting borders, cut at 4 σ) as a matrix.

    Args:
      size: number of pixels.
      sigma: standard deviation in pixels; 0 does nothing.

    Returns:
      float64 of shape (size, size), rows summing to 1.
    """
    identity = np.eye(size)
    return ndimage.gaussian_filter1d(identity, sigma, axis=0) if sigma > 0 else identity


def score_map(
    level_maps: LevelMaps,
    level_scales: Float[Array, "3"] | Sequence[float],
    *,
    size: tuple[int, int],
    smoothing: float,
    levels: Sequence[int],
) -> Float[Array, "b y x"]:
    """Eq. 10: S = Σ_k upsample(M^k) over the chosen levels, then a Gaussian (released code).

    Upsampling and smoothing are both linear and separable, so each level takes one product with a
    matrix on either side.

    Args:
      level_maps: M^1, M^2, M^3.
      level_scales: each level's map is divided by its number first; ones as in the paper.
      size: height and width of S in pixels.
      smoothing: σ of the Gaussian in pixels of S; 0 turns it off.
      levels: which of 1, 2, 3 are added.

    Returns:
      Score maps in float32 or wider; larger is more anomalous.
    """
    return sum(upsample(level_maps[k - 1] / level_scales[k - 1], size, smoothing) for k in levels)


@cache
def jitted_score_map(
    size: tuple[int, int], smoothing: float, levels: tuple[int, ...]
) -> Callable[[LevelMaps, Array], Array]:
    """``score_map`` with these settings, compiled once, as a function of maps and scales."""
    return jax.jit(partial(score_map, size=size, smoothing=smoothing, levels=levels))


def mean_of_largest(values: np.ndarray, share: float, *, of: int | None = None) -> float:
    """The score of an image from those of its pixels.

    Args:
      values: the scores of all pixels that are looked at, of any shape.
      share: how many of them count.
      of: what the share is of; the number of values unless given.

    Returns:
      The mean of the largest values, of at least one, which is 0 where there is none.
    """
    values = values.reshape(-1)
    if not values.size:
        return 0.0
    count = min(max(1, round(share * (of or values.size))), values.size)
    return float(np.partition(values, -count)[-count:].mean(dtype=np.float64))


def upsample(
    maps: Float[Array, "b h w"], size: tuple[int, int], smoothing: float
) -> Float[Array, "b y x"]:
    """Corner-aligned bilinear interpolation, then a Gaussian.

    Args:
      maps: what to enlarge.
      size: height and width of the result in pixels.
      smoothing: σ of the Gaussian in pixels of the result; 0 turns it off.
    """
    rows, columns = (
        jnp.asarray(
            smoothing_matrix(side, smoothing) @ interpolation_matrix(side_in, side), maps.dtype
        )
        for side_in, side in zip(maps.shape[1:], size, strict=True)
    )
    return jnp.einsum("yh,bhw,xw->byx", rows, maps, columns, precision=jax.lax.Precision.HIGHEST)
