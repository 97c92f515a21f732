"""What the network promises beyond parity: sizes, keys, gradients, what is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dtsnet_jax.evaluation.scoring import score_map
from dtsnet_jax.model.backbones import BACKBONES
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.model.encoder import build_encoder
from dtsnet_jax.model.layers import DepthwiseConvolution, TransposedConvolution
from dtsnet_jax.training.objective import distillation_loss
from dtsnet_jax.training.optimizer import build_optimizer
from dtsnet_jax.training.step import TrainState, make_level_step, make_train_step, split_network
from dtsnet_jax.weights.convert import load_state_dict

KEY = jax.random.key(0)


def build(name="efficientnet_lite0", dtype=None, teacher=None):
    teacher = teacher or build_encoder(name, dtype=dtype, rngs=nnx.Rngs(0))
    student = Student(
        name,
        bottleneck="mff",
        reconstruction=True,
        noise_scale=0.1,
        temperature=0.5,
        dtype=dtype,
        rngs=nnx.Rngs(1),
    )
    return split_network(BACKBONES[name], teacher, student)


def random_batch(size=64, batch=4):
    generator = np.random.default_rng(0)
    return {
        "normal": generator.integers(0, 256, (batch, size, size, 3), np.uint8),
        "synthetic": generator.integers(0, 256, (batch // 2, size, size, 3), np.uint8),
    }


def start(params, batch_stats, accumulate=1):
    optimizer = build_optimizer(
        learning_rate=0.005, reconstruction_learning_rate=0.001, accumulate=accumulate
    )
    copies = jax.tree.map(jnp.copy, (params, batch_stats))
    state = TrainState(jnp.zeros((), jnp.int32), *copies, optimizer.init(params))
    return optimizer, state


def moved(before, after):
    return jax.tree.map(lambda a, b: bool((a != b).any()), before, after)


def test_steps_lower_the_loss_move_everything_and_compile_once():
    network, teacher, params, batch_stats = build()
    optimizer, state = start(params, batch_stats)
    step = make_train_step(network, optimizer)
    losses = []
    for _ in range(6):
        state, loss = step(state, teacher, random_batch(), KEY)
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    assert int(state.step) == 6
    assert all(jax.tree.leaves(moved(params, state.params)))
    assert all(jax.tree.leaves(moved(batch_stats, state.batch_stats)))
    assert step._cache_size() == 1


def test_gradients_are_accumulated_over_two_batches():
    network, teacher, params, batch_stats = build()
    optimizer, state = start(params, batch_stats, accumulate=2)
    step = make_train_step(network, optimizer)
    state, _ = step(state, teacher, random_batch(), KEY)
    assert not any(jax.tree.leaves(moved(params, state.params)))
    state, _ = step(state, teacher, random_batch(), KEY)
    assert all(jax.tree.leaves(moved(params, state.params)))


def test_noise_follows_seed_and_step_and_inference_has_none():
    network, teacher, params, batch_stats = build()

    def first_loss(seed, at_step=0):
        optimizer, state = start(params, batch_stats)
        state = TrainState(jnp.int32(at_step), state.params, state.batch_stats, state.optimizer)
        step = make_train_step(network, optimizer)
        return float(step(state, teacher, random_batch(), jax.random.key(seed))[1])

    assert first_loss(0) == first_loss(0)
    assert len({first_loss(0), first_loss(1), first_loss(0, at_step=1)}) == 3
    level_step = make_level_step(network)

    def score(*arguments):
        return score_map(
            level_step(*arguments), (1, 1, 1), image_size=64, smoothing=4.0, levels=(1, 2, 3)
        )

    images = random_batch()["normal"]
    maps = [np.asarray(score(params, batch_stats, teacher, images)) for _ in range(2)]
    assert maps[0].shape == (4, 64, 64)
    np.testing.assert_array_equal(*maps)
    alone = score(params, batch_stats, teacher, np.repeat(images[:1], 4, axis=0))[0]
    np.testing.assert_allclose(alone, maps[0][0], atol=1e-5)


def test_only_synthesised_samples_differ_from_normal_ones():
    """The teacher runs over the synthesised half only, yet as if over the whole batch."""
    from dtsnet_jax.training.step import anomalous_features, teacher_features

    network, teacher, _, _ = build()
    batch = random_batch()
    whole = batch["normal"].copy()
    whole[1::2] = batch["synthetic"]
    normal = teacher_features(network, teacher, batch["normal"])
    expected = teacher_features(network, teacher, whole)
    for a, b in zip(anomalous_features(network, teacher, batch, normal), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_bfloat16_agrees_with_float32_over_20_steps_and_keeps_float32_weights():
    losses = {}
    for name, dtype in (("float32", None), ("bfloat16", jnp.bfloat16)):
        network, teacher, params, batch_stats = build(dtype=dtype)
        assert {x.dtype for x in jax.tree.leaves((params, batch_stats))} == {jnp.dtype("float32")}
        optimizer, state = start(params, batch_stats)
        step = make_train_step(network, optimizer)
        losses[name] = []
        for _ in range(20):
            state, loss = step(state, teacher, random_batch(), KEY)
            assert loss.dtype == jnp.float32
            losses[name].append(float(loss))
    assert losses["float32"][-1] < 0.5 * losses["float32"][0]
    assert losses["bfloat16"][0] == pytest.approx(losses["float32"][0], rel=0.01)
    # bfloat16 has 8 bits: each step adds a rounding error of 0.4 % in every activation.
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.1)


def test_loss_is_finite_at_zero_features():
    zeros = tuple(jnp.zeros((2, s, s, 8)) for s in (4, 2, 1))
    loss, gradient = jax.value_and_grad(distillation_loss, argnums=1)(zeros, zeros)
    assert loss == 3
    assert all(jnp.isfinite(g).all() for g in gradient)


def test_transposed_convolution_equals_xla():
    layer = TransposedConvolution(5, 7, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 6, 4, 5))
    kernel = layer.conv.kernel[...].reshape(5, 2, 2, 7).transpose(1, 2, 3, 0)
    expected = jax.lax.conv_transpose(x, kernel, (2, 2), "VALID", transpose_kernel=True)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


@pytest.mark.parametrize(("kernel_size", "stride", "size"), [(3, 1, 9), (3, 2, 8), (5, 2, 7)])
def test_depthwise_convolution_equals_xla(kernel_size, stride, size):
    layer = DepthwiseConvolution(6, kernel_size, stride, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, size, size, 6))
    expected = jax.lax.conv_general_dilated(
        x,
        layer.kernel[...][:, :, None],
        (stride, stride),
        "SAME",
        feature_group_count=6,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_wide_resnet_takes_torchvision_weights_and_trains_at_256_pixels():
    from tests.parity.reference import torch_resnet

    name = "wide_resnet50_2"
    teacher = build_encoder(name, rngs=nnx.Rngs(0))
    state_dict = {key: value.numpy() for key, value in torch_resnet(name).state_dict().items()}
    load_state_dict(teacher, state_dict, source="random")
    network, teacher, params, batch_stats = build(name, teacher=teacher)
    optimizer, state = start(params, batch_stats)
    step = make_train_step(network, optimizer)
    state, loss = step(state, teacher, random_batch(size=256, batch=2), KEY)
    assert 0 < float(loss) < 6
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(state.params))


def test_the_student_gives_back_the_signs_its_teacher_has():
    for name, signed in (("efficientnet_lite0", True), ("resnet18", False)):
        student = Student(
            name,
            bottleneck="rd",
            reconstruction=False,
            noise_scale=0.0,
            temperature=0.5,
            rngs=nnx.Rngs(0),
        )
        teacher = build_encoder(name, rngs=nnx.Rngs(1))
        images = jax.random.normal(KEY, (2, 64, 64, 3))
        for ours, theirs in zip(student(teacher(images)), teacher(images), strict=True):
            assert bool((theirs < 0).any()) == bool((ours < 0).any()) == signed
