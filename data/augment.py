"""Augmentation of training images, stateless in TensorFlow; beyond the paper, which has none."""

import math
from collections.abc import Collection

from data.options import AUGMENTATIONS, Augmentation
from data.rotation import rotate
from data.tf import tf

ANGLE = math.radians(10.0)
BRIGHTNESS = (0.9, 1.1)


def augment(
    image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor, kinds: Collection[Augmentation]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Changes an image, and its mask so that it stays aligned.

    Whatever their order in ``kinds``, they are applied in that of ``AUGMENTATIONS``, and each draws
    from a seed of its own: leaving one out does not change what the others draw.

    Args:
      image: (h, w, 3) uint8; 'quarter_turns' needs h = w.
      mask: (h, w) bool or uint8.
      seed: (2,) integers; equal seeds give equal results.
      kinds: which of ``AUGMENTATIONS``.

    Returns:
      Image and mask of the same shapes and dtypes.
    """
    functions = {
        "flips": flip,
        "quarter_turns": turn,
        "rotations": rotate_a_little,
        "brightness": change_brightness,
    }
    seeds = tf.unstack(tf.random.split(seed, len(AUGMENTATIONS)))
    for kind, its_seed in zip(AUGMENTATIONS, seeds, strict=True):
        if kind in kinds:
            image, mask = functions[kind](image, mask, its_seed)
    return image, mask


def flip(image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Flips left-right and up-down, each with probability one half; see ``augment``."""
    seed_x, seed_y = tf.unstack(tf.random.split(seed, 2))

    def flipped(pixels: tf.Tensor) -> tf.Tensor:
        pixels = tf.image.stateless_random_flip_left_right(pixels, seed_x)
        return tf.image.stateless_random_flip_up_down(pixels, seed_y)

    return flipped(image), flipped(mask[:, :, None])[:, :, 0]


def turn(image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns by 0, 90, 180 or 270°, each as likely; see ``augment``."""
    quarters = tf.random.stateless_uniform([], seed, 0, 4, tf.int32)

    def turned(pixels: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.image.rot90(pixels, quarters), pixels.shape)

    return turned(image), turned(mask[:, :, None])[:, :, 0]


def rotate_a_little(
    image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotates about the centre by an angle uniform in ±10°, mirrored at the borders.

    The image is interpolated bilinearly, the mask takes the nearest pixel; see ``augment``.
    """
    angle = tf.random.stateless_uniform([], seed, -ANGLE, ANGLE)
    rotated = rotate(tf.cast(image, tf.float32), angle, fill_mode="REFLECT")
    nearest = rotate(tf.cast(mask, tf.uint8), angle, interpolation="NEAREST", fill_mode="REFLECT")
    return tf.cast(tf.round(rotated), tf.uint8), tf.cast(nearest, mask.dtype)


def change_brightness(
    image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Multiplies the image by a factor uniform in [0.9, 1.1], clipped to 255; see ``augment``."""
    factor = tf.random.stateless_uniform([], seed, *BRIGHTNESS)
    brighter = tf.clip_by_value(factor * tf.cast(image, tf.float32), 0.0, 255.0)
    return tf.cast(tf.round(brighter), tf.uint8), mask
