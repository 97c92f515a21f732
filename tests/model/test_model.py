"""What the network's parts promise beyond parity: XLA's results, signs, finite gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dtsnet_jax.model.layers import (
    DepthwiseConvolution,
    TransposedConvolution,
    cosine_similarity,
)
from tests.helpers import KEY
from tests.model.networks import call, draw_student, draw_teacher


def test_cosines_and_their_gradients_are_finite_at_zero():
    zeros, ones = jnp.zeros((1, 8)), jnp.ones((1, 8))
    for a, b in ((zeros, zeros), (zeros, ones), (ones, zeros)):
        cosine, gradients = jax.value_and_grad(lambda *ab: cosine_similarity(*ab).sum(), (0, 1))(
            a, b
        )
        assert cosine == 0
        assert all(jnp.isfinite(g).all() for g in gradients)


def test_half_precision_is_compared_in_float32():
    generator = np.random.default_rng(0)
    a, b = (jnp.asarray(generator.normal(size=(2, 5000)), jnp.bfloat16) for _ in range(2))
    wide = [np.asarray(x, np.float64) for x in (a, b)]
    expected = (wide[0] * wide[1]).sum(1) / np.prod([np.linalg.norm(x, axis=1) for x in wide], 0)
    assert cosine_similarity(a, b).dtype == jnp.float32
    np.testing.assert_allclose(cosine_similarity(a, b), expected, atol=1e-6)


def test_transposed_convolution_equals_xla():
    layer = TransposedConvolution(5, 7, rngs=nnx.Rngs(0))
    x = jax.random.normal(KEY, (2, 6, 4, 5))
    kernel = layer.conv.kernel[...].reshape(5, 2, 2, 7).transpose(1, 2, 3, 0)
    expected = jax.lax.conv_transpose(x, kernel, (2, 2), "VALID", transpose_kernel=True)
    np.testing.assert_allclose(call(layer, x), expected, atol=1e-5)


@pytest.mark.parametrize(("kernel_size", "stride", "size"), [(3, 1, 9), (3, 2, 8), (5, 2, 7)])
def test_depthwise_convolution_equals_xla(kernel_size, stride, size):
    layer = DepthwiseConvolution(6, kernel_size, stride, rngs=nnx.Rngs(0))
    x = jax.random.normal(KEY, (2, size, size, 6))
    expected = jax.lax.conv_general_dilated(
        x,
        layer.kernel[...][:, :, None],
        (stride, stride),
        "SAME",
        feature_group_count=6,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(call(layer, x), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "signed"), [("efficientnet_lite0", True), ("tiny", False)])
def test_the_student_gives_back_the_signs_its_teacher_has(name, signed):
    images = jax.random.normal(KEY, (2, 64, 64, 3))
    features = call(draw_teacher(name).encoder, images)
    student = draw_student(name, bottleneck="rd", reconstruction=False)
    for ours, theirs in zip(call(student, features), features, strict=True):
        assert bool((theirs < 0).any()) == bool((ours < 0).any()) == signed
