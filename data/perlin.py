"""Perlin noise in TensorFlow, stateless and without loops (Perlin, SIGGRAPH 1985 and 2002)."""

import math

from data.rotation import rotate
from data.tf import tf

MAX_EXPONENT = 5
_LATTICE_POINTS = 2**MAX_EXPONENT + 1


def perlin_noise(seed: tf.Tensor, size: int) -> tf.Tensor:
    """Draws Perlin noise whose lattice has 2^e cells along each axis, e uniform in {0, …, 5}.

    Noise is a sum over lattice points of fade(y) · fade(x) · (gradient · offset). Each factor
    depends on one axis only, so the sum is two products of matrices.

    Args:
      seed: (2,) int32; equal seeds give equal noise.
      size: height and width in pixels.

    Returns:
      (size, size) float32, roughly in [-1, 1].
    """
    seed_resolution, seed_angles = tf.unstack(tf.random.split(seed, 2))
    exponents = tf.random.stateless_uniform([2], seed_resolution, 0, MAX_EXPONENT + 1, tf.int32)
    cells = tf.bitwise.left_shift(1, exponents)
    shape = [_LATTICE_POINTS, _LATTICE_POINTS]
    angles = tf.random.stateless_uniform(shape, seed_angles, 0.0, 2.0 * math.pi)
    fade_y, offset_y = _lattice_weights(cells[0], size)
    fade_x, offset_x = _lattice_weights(cells[1], size)
    along_y = (fade_y * offset_y) @ tf.sin(angles) @ tf.transpose(fade_x)
    along_x = fade_y @ tf.cos(angles) @ tf.transpose(fade_x * offset_x)
    return math.sqrt(2.0) * (along_y + along_x)


def _lattice_weights(cells: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Weight of, and offset from, each lattice point at each pixel of an axis.

    Returns:
      Two (size, lattice points) float32 matrices; fade is 6t⁵ − 15t⁴ + 10t³ of the closeness t.
    """
    positions = tf.range(size, dtype=tf.float32) * tf.cast(cells, tf.float32) / size
    offset = positions[:, None] - tf.range(_LATTICE_POINTS, dtype=tf.float32)[None, :]
    t = tf.maximum(0.0, 1.0 - tf.abs(offset))
    return t**3 * (t * (6.0 * t - 15.0) + 10.0), offset


def perlin_mask(seed: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Draws a mask: Perlin noise, rotated by a uniform angle in ±90°, where it exceeds 0.5.

    A rectangle is the middle of the square around it, so that no direction is different.

    Args:
      seed: (2,) int32; equal seeds give equal masks.
      size: height and width in pixels.

    Returns:
      (height, width) bool; may be empty.
    """
    seed_noise, seed_angle = tf.unstack(tf.random.split(seed, 2))
    angle = tf.random.stateless_uniform([], seed_angle, -math.pi / 2, math.pi / 2)
    height, width = size
    square = max(size)
    mask = rotate(perlin_noise(seed_noise, square), angle) > 0.5
    top, left = (square - height) // 2, (square - width) // 2
    return mask[top : top + height, left : left + width]
