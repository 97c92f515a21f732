"""Cached features are the teacher's, training does not change by them, and steps compile once."""

import jax.numpy as jnp
import numpy as np
import pytest

from configs import folder
from dtsnet_jax.detectors import learner
from dtsnet_jax.devices.mesh import data_mesh
from dtsnet_jax.jobs import table
from dtsnet_jax.jobs.train import train
from dtsnet_jax.training import feature_cache
from dtsnet_jax.training.feature_cache import FeatureCache
from dtsnet_jax.training.records import read_records
from dtsnet_jax.training.step import make_teacher_step
from tests.helpers import SMALL, seed_run, small_config
from tests.model.networks import draw_network


@pytest.fixture(scope="module")
def teacher():
    """The jitted teacher as a function of images."""
    graphs, arrays, _, _ = draw_network()
    step = make_teacher_step(graphs)
    return lambda images: step(arrays, images)


def test_what_is_taken_is_what_the_teacher_says(teacher):
    images = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), np.uint8)
    cache = FeatureCache(teacher, images, batch_size=3, mesh=data_mesh())
    index = jnp.array([[6, 0], [3, 3]])
    for ours, expected in zip(cache.take(index), teacher(images[[6, 0, 3, 3]]), strict=True):
        assert ours.shape == (2, 2, *expected.shape[1:])
        np.testing.assert_allclose(ours.reshape(expected.shape), expected, atol=1e-4)


@pytest.mark.parametrize(("free", "fits"), [(10**9, True), (2 * 10**5, False)])
def test_it_is_kept_only_where_it_fits(free, fits, teacher, monkeypatch, capsys):
    monkeypatch.setattr(feature_cache, "_free_device_memory", lambda: free)
    images = np.zeros((10, 64, 64, 3), np.uint8)
    assert feature_cache._fits(teacher, images, "parts") is fits
    # The channels at 16², 8² and 4² positions are so many floats an image.
    needed = 10 * 4 * (8 * 16**2 + 16 * 8**2 + 32 * 4**2)
    assert f"take {needed / 1e3:.1f} kB on each" in capsys.readouterr().out


def test_losses_are_the_same_with_and_without_it(own_images, tmp_path):
    losses = {}
    for cached in (True, False):
        config = small_config(
            own_images, train__epochs=2, train__cache_teacher=cached, train__log_every=1
        )
        train(config, tmp_path / str(cached))
        records = read_records(seed_run(tmp_path / str(cached)).directory)
        losses[cached] = [record["loss"] for record in records]
    assert len(losses[True]) == 4
    assert losses[True] == pytest.approx(losses[False], rel=5e-3)


def test_the_step_compiles_once_for_two_categories(
    miniatures, tmp_path, monkeypatch, shared_programs
):
    built = []

    def build_once(*arguments):
        built.append(learner.build_learner(*arguments))
        return built[-1]

    monkeypatch.setattr(table, "build_learner", build_once)
    monkeypatch.setattr(learner, "build_programs", shared_programs)
    config = folder.get_config("paper")
    config.update_from_flattened_dict(
        SMALL
        | {
            "train.epochs": 1,
            "data.name": "mvtec_ad",
            "data.root": str(miniatures / "mvtec_ad"),
            "data.category": "bottle,carpet",
        }
    )
    (report,) = train(config, tmp_path).values()
    assert list(report["categories"]) == ["bottle", "carpet"]
    (one,) = built
    assert one.programs.train_step._cache_size() == 1
    assert one.programs.level_step._cache_size() == 1
