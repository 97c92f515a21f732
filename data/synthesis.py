"""Foreground-aware anomaly synthesis, FAS (paper, Eqs. 1–2), stateless in TensorFlow."""

from typing import NamedTuple

from data.options import SynthesisOptions
from data.perlin import perlin_mask
from data.tf import tf


class AnomalyMask(NamedTuple):
    """Eq. 1 with its ingredients, each (height, width).

    Attributes:
      first, second: M_1 and M_2, the Perlin masks, bool.
      mask: M, inside the foreground and of its dtype; may be empty.
    """

    first: tf.Tensor
    second: tf.Tensor
    mask: tf.Tensor


class Anomaly(NamedTuple):
    """A synthesised anomaly.

    Attributes:
      image: I_a, (height, width, 3) uint8.
      masks: M and what it was made of.
      opacity: β, scalar float32.
    """

    image: tf.Tensor
    masks: AnomalyMask
    opacity: tf.Tensor


def draw_mask(seed: tf.Tensor, foreground: tf.Tensor, options: SynthesisOptions) -> AnomalyMask:
    """Eq. 1: M = (M_1 ∩ M_2) ⊙ M_f or (M_1 ∪ M_2) ⊙ M_f.

    Args:
      seed: (2,) int32.
      foreground: M_f, (height, width) bool, or uint8 with 255 for all foreground.
      options: which combinations are drawn.
    """
    seed_kind, seed_first, seed_second = tf.unstack(tf.random.split(seed, 3))
    size = tuple(foreground.shape)
    first, second = perlin_mask(seed_first, size), perlin_mask(seed_second, size)
    combinations = {
        "intersection": first & second,
        "union": first | second,
        "first": first,
        "second": second,
    }
    kind = tf.random.stateless_uniform([], seed_kind, 0, len(options.masks), tf.int32)
    chosen = tf.stack([combinations[name] for name in options.masks])[kind]
    return AnomalyMask(first, second, tf.where(chosen, foreground, tf.zeros_like(foreground)))


def mix(
    normal: tf.Tensor, texture: tf.Tensor, mask: tf.Tensor, weight_of_normal: tf.Tensor
) -> tf.Tensor:
    """Eq. 2: I_a = β (M ⊙ I_n) + (1 − β)(M ⊙ I_r) + (1 − M) ⊙ I_n.

    Args:
      normal, texture: I_n and I_r, (height, width, 3) uint8.
      mask: M, (height, width) bool, or uint8 with 255 for 1.
      weight_of_normal: β, scalar in [0, 1].

    Returns:
      (height, width, 3) uint8, rounded; equal to ``normal`` outside the mask.
    """
    image = tf.cast(normal, tf.float32)
    blend = weight_of_normal * image
    blend += (1.0 - weight_of_normal) * tf.cast(texture, tf.float32)
    if mask.dtype != tf.bool:
        weight = tf.cast(mask, tf.float32)[:, :, None] / 255.0
        return tf.cast(tf.round(weight * blend + (1.0 - weight) * image), tf.uint8)
    return tf.where(mask[:, :, None], tf.cast(tf.round(blend), tf.uint8), normal)


def synthesize(
    normal: tf.Tensor,
    texture: tf.Tensor,
    foreground: tf.Tensor,
    seed: tf.Tensor,
    options: SynthesisOptions,
) -> Anomaly:
    """Draws an anomaly into a normal image.

    Args:
      normal, texture: I_n and I_r, (height, width, 3) uint8.
      foreground: M_f as in ``draw_mask``.
      seed: (2,) int32; equal seeds give equal anomalies.
      options: how it is drawn.
    """
    seed_mask, seed_opacity = tf.unstack(tf.random.split(seed, 2))
    masks = draw_mask(seed_mask, foreground, options)
    beta = tf.random.stateless_uniform([], seed_opacity, *options.opacity)
    weight_of_normal = beta if options.opacity_of == "normal" else 1.0 - beta
    return Anomaly(mix(normal, texture, masks.mask, weight_of_normal), masks, beta)
