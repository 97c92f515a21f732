"""Rotation of images in TensorFlow."""

from data.tf import tf


def rotate(
    image: tf.Tensor,
    angle: tf.Tensor,
    *,
    interpolation: str = "BILINEAR",
    fill_mode: str = "CONSTANT",
) -> tf.Tensor:
    """Rotates about the centre.

    Args:
      image: (h, w) or (h, w, channels), float32 or, with 'NEAREST', uint8 too.
      angle: scalar in radians, counter-clockwise.
      interpolation: 'BILINEAR' or 'NEAREST'.
      fill_mode: what comes in from outside, zeros ('CONSTANT') or the image mirrored at its
        border ('REFLECT').

    Returns:
      The rotated image, of the same shape and dtype.
    """
    height, width = image.shape[:2]
    cos, sin = tf.cos(angle), tf.sin(angle)
    centre_y, centre_x = (height - 1) / 2.0, (width - 1) / 2.0
    shift_x = centre_x - (cos * centre_x - sin * centre_y)
    shift_y = centre_y - (sin * centre_x + cos * centre_y)
    transform = tf.stack([cos, -sin, shift_x, sin, cos, shift_y, 0.0, 0.0])
    rotated = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.reshape(image, [1, height, width, -1]),
        transforms=transform[None],
        output_shape=[height, width],
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode=fill_mode,
    )
    return tf.reshape(rotated, image.shape)
