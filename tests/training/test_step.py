"""The training step: what it moves, averages, draws and keeps; and scoring, which draws nothing."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dtsnet_jax.devices.mesh import data_mesh, replicate
from dtsnet_jax.evaluation.scoring import score_map
from dtsnet_jax.training.feature_cache import send
from dtsnet_jax.training.objective import distillation_loss
from dtsnet_jax.training.step import (
    anomalous_features,
    make_level_step,
    make_teacher_step,
    make_train_step,
)
from tests.helpers import KEY, nothing_implicit, random_batches, start
from tests.model.networks import draw_network


@pytest.fixture(scope="module")
def network():
    return draw_network()


@pytest.fixture(scope="module")
def train_step(network):
    graphs, _, params, batch_stats = network
    return make_train_step(graphs, start(params, batch_stats)[0], average_over=0.5)


def first_state(params, batch_stats, at_step=0):
    """With an average, so that all tests take steps of one compiled program."""
    _, state = start(params, batch_stats)
    zeros = jax.tree.map(jnp.zeros_like, state.scoring)
    return replace(state, step=jnp.int32(at_step), average=zeros)


def images(count=1):
    return random_batches(size=32, batch=8, count=count)


def gradients(state):
    """The gradients of the first step, of which Adam's first moment is a half."""
    moments = optax.tree.get_all_with_path(state.optimizer_state, "mu")
    return [2 * np.asarray(x) for _, moment in moments for x in jax.tree.leaves(moment)]


def norm(arrays):
    return np.sqrt(sum((x**2).sum() for x in arrays))


def moved(before, after):
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return [bool((np.asarray(a) != np.asarray(b)).any()) for a, b in pairs]


def assert_close(ours, expected, rtol=1e-5):
    """Compares trees array by array, relative to the largest number of each."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(np.abs(b).max(), 1e-3))


def test_steps_lower_the_loss_move_everything_and_compile_once(network, train_step):
    _, teacher, params, batch_stats = network
    state = first_state(params, batch_stats)
    losses = []
    for _ in range(6):
        state, metrics = train_step(state, teacher, images(), KEY)
        losses.append(float(metrics.loss))
    assert losses[-1] < 0.5 * losses[0]
    assert int(state.step) == 6
    assert all(moved(params, state.params))
    assert all(moved(batch_stats, state.batch_stats))
    assert train_step._cache_size() == 1


def test_a_step_promotes_no_dtype_and_moves_nothing_between_host_and_device(network):
    graphs, *arrays = network
    teacher, params, batch_stats = replicate(arrays, data_mesh())
    optimizer, state = start(params, batch_stats)
    state = replace(state, average=jax.tree.map(jnp.copy, state.scoring))
    step = make_train_step(graphs, promoting(optimizer), average_over=0.5)
    for _ in range(2):
        batches = send(images(count=2), None, data_mesh())
        with nothing_implicit():
            state, metrics = step(state, teacher, batches, KEY)
    assert np.isfinite(metrics.loss)
    dtypes = {x.dtype.name for x in jax.tree.leaves(replace(state, optimizer_state=None))}
    assert dtypes == {"int32", "float32"}


def promoting(optimizer):
    """An optimiser that may promote: Optax raises numbers to the power of the int32 step."""

    def update(*arguments):
        with jax.numpy_dtype_promotion("standard"):
            return optimizer.update(*arguments)

    return optax.GradientTransformation(optimizer.init, update)


def test_a_step_over_two_batches_averages_the_gradients_of_each(network, train_step):
    _, teacher, params, batch_stats = network
    both = images(count=2)

    def first_update(batches, number, batch_stats):
        return train_step(first_state(params, batch_stats, number), teacher, batches, KEY)

    ours, metrics = first_update(both, 0, batch_stats)
    batches = [{name: array[i : i + 1] for name, array in both.items()} for i in range(2)]
    first, first_metrics = first_update(batches[0], 0, batch_stats)
    second, second_metrics = first_update(batches[1], 1, first.batch_stats)

    mean = [(a + b) / 2 for a, b in zip(gradients(first), gradients(second), strict=True)]
    assert_close(gradients(ours), mean, rtol=1e-4)
    losses = [float(m.loss) for m in (first_metrics, second_metrics)]
    assert float(metrics.loss) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(metrics.gradient_norm) == pytest.approx(norm(mean), rel=1e-4)
    weights, before = (list(map(np.asarray, jax.tree.leaves(p))) for p in (ours.params, params))
    assert float(metrics.parameter_norm) == pytest.approx(norm(weights), rel=1e-5)
    change = [a - b for a, b in zip(weights, before, strict=True)]
    assert float(metrics.update_norm) == pytest.approx(norm(change), rel=1e-4)
    variances = [
        leaf for path, leaf in jax.tree.leaves_with_path(ours.batch_stats) if path[-1].key == "var"
    ]
    assert len(variances) == len(jax.tree.leaves(batch_stats)) / 2
    assert metrics.smallest_variance == min(leaf.min() for leaf in variances)
    assert metrics.largest_variance == max(leaf.max() for leaf in variances)
    assert int(ours.step) == 1
    assert_close(ours.batch_stats, second.batch_stats)
    assert all(moved(first.batch_stats, ours.batch_stats))

    kept = [x.size for x in jax.tree.leaves(ours.optimizer_state) if x.ndim]
    assert sorted(kept) == sorted(2 * [x.size for x in jax.tree.leaves(params)])


def test_scoring_weights_are_an_average_over_a_share_of_the_steps(network, train_step):
    _, teacher, params, batch_stats = network
    _, state = start(params, batch_stats)
    assert state.scoring == (state.params, state.batch_stats)
    state = first_state(params, batch_stats)
    expected = None
    for newest in (1.0, 1 / 1.5, 1 / 2.0):  # 1 / (1 + 0.5 · step)
        state, _ = train_step(state, teacher, images(), KEY)
        now = jax.tree.map(np.asarray, (state.params, state.batch_stats))
        expected = now if expected is None else mixed(now, expected, newest)
        assert_close(state.scoring, expected)
    assert all(moved(state.scoring, now))


def mixed(first, second, share):
    return jax.tree.map(lambda a, b: share * a + (1 - share) * b, first, second)


def test_noise_follows_seed_and_step(network, train_step):
    _, teacher, params, batch_stats = network

    def first_loss(seed, at_step=0):
        state = first_state(params, batch_stats, at_step)
        return float(train_step(state, teacher, images(), jax.random.key(seed))[1].loss)

    assert first_loss(0) == first_loss(0)
    assert len({first_loss(0), first_loss(1), first_loss(0, at_step=1)}) == 3


def test_a_score_map_has_no_noise_and_does_not_depend_on_the_rest_of_the_batch(network):
    graphs, teacher, params, batch_stats = network
    level_step = make_level_step(graphs)

    def score(batch):
        maps, _ = level_step(params, batch_stats, teacher, batch)
        return score_map(maps, (1, 1, 1), size=(32, 32), smoothing=4.0, levels=(1, 2, 3))

    batch = images()["normal"][0]
    maps = score(batch)
    assert maps.shape == (8, 32, 32)
    np.testing.assert_array_equal(maps, score(batch))
    alone = score(np.repeat(batch[:1], 8, axis=0))[0]
    np.testing.assert_allclose(alone, maps[0], atol=1e-5)
    assert np.ptp(maps, axis=0).max() > 1e-3


def test_only_synthesised_samples_differ_from_normal_ones(network):
    """The teacher runs over the synthesised half only, yet as if over the whole batch."""
    graphs, teacher, _, _ = network
    batch = {name: arrays[0] for name, arrays in images().items()}
    whole = batch["normal"].copy()
    whole[1::2] = batch["synthetic"]
    features = partial(make_teacher_step(graphs), teacher)
    ours = jax.jit(partial(anomalous_features, graphs))(teacher, batch, features(batch["normal"]))
    for a, b in zip(ours, features(whole), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_bfloat16_agrees_with_float32_over_20_steps_and_keeps_float32_weights(network, train_step):
    half = draw_network(dtype=jnp.bfloat16)
    _, _, params, batch_stats = half
    half_step = make_train_step(half[0], start(params, batch_stats)[0], average_over=0.5)
    losses = []
    for step, (_, teacher, params, batch_stats) in ((train_step, network), (half_step, half)):
        state = first_state(params, batch_stats)
        losses.append([])
        for _ in range(20):
            state, metrics = step(state, teacher, images(), KEY)
            assert metrics.loss.dtype == jnp.float32
            losses[-1].append(float(metrics.loss))
        assert {x.dtype for x in jax.tree.leaves((state.params, state.batch_stats))} == {
            jnp.dtype("float32")
        }
    assert losses[0][-1] < 0.5 * losses[0][0]
    assert losses[0] != losses[1]
    assert losses[1][0] == pytest.approx(losses[0][0], rel=0.01)
    # bfloat16 has 8 bits: each step adds a rounding error of 0.4 % in every activation.
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


def test_the_loss_is_finite_at_zero_features():
    zeros = tuple(jnp.zeros((2, s, s, 8)) for s in (4, 2, 1))
    loss, gradient = jax.jit(jax.value_and_grad(distillation_loss, argnums=1))(zeros, zeros)
    assert loss == 3
    assert all(jnp.isfinite(g).all() for g in gradient)
