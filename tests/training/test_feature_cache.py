"""Cached features are the teacher's, training does not change by them, and steps compile once."""

import jax.numpy as jnp
import numpy as np
import pytest

from configs import folder
from dtsnet_jax import feature_cache
from dtsnet_jax.detectors.student import StudentDetector
from dtsnet_jax.devices.mesh import data_mesh
from dtsnet_jax.jobs.train import DETECTORS, train
from dtsnet_jax.results import seed_directory
from dtsnet_jax.training.feature_cache import FeatureCache, cache_fits
from dtsnet_jax.training.progress import read_records
from dtsnet_jax.training.step import make_teacher_step
from tests.test_jobs import SEED, SMALL, small_config
from tests.test_model import build


def teacher_of_images():
    network, teacher, _, _ = build()
    step = make_teacher_step(network)
    return lambda images: step(teacher, images)


def test_what_is_taken_is_what_the_teacher_says():
    teacher = teacher_of_images()
    images = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), np.uint8)
    cache = FeatureCache(teacher, images, batch_size=3, mesh=data_mesh())
    index = jnp.array([6, 0, 3, 3])
    for ours, expected in zip(cache.take(index), teacher(images[np.array(index)]), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize(("free", "fits"), [(10**9, True), (8 * 10**5, False)])
def test_it_is_kept_only_where_it_fits(free, fits, monkeypatch, capsys):
    monkeypatch.setattr(feature_cache, "_free_device_memory", lambda: free)
    images = np.zeros((10, 64, 64, 3), np.uint8)
    assert cache_fits(teacher_of_images(), images, "parts") is fits
    # Lite0 at 64 px: (16² · 24 + 8² · 40 + 4² · 112) floats an image.
    assert f"take {10 * 4 * (6144 + 2560 + 1792) / 1000:.1f} kB on each" in capsys.readouterr().out


def test_losses_are_the_same_with_and_without_it(own_images, tmp_path):
    losses = {}
    for cached in (True, False):
        config = small_config(own_images)
        config.train.update(epochs=2, cache_teacher=cached, log_every=1)
        train(config, tmp_path / str(cached))
        records = read_records(seed_directory(tmp_path / str(cached), "parts", SEED))
        losses[cached] = [record["loss"] for record in records]
    assert len(losses[True]) == 4
    assert losses[True] == pytest.approx(losses[False], rel=5e-3)


def test_the_step_compiles_once_for_two_categories(miniatures, tmp_path, monkeypatch):
    built = []

    def build_once(config):
        built.append(StudentDetector(config))
        return built[-1]

    monkeypatch.setitem(DETECTORS, "student", build_once)
    config = folder.get_config()
    config.update_from_flattened_dict(
        SMALL
        | {
            "train.epochs": 1,
            "data.name": "mvtec_ad",
            "data.root": str(miniatures / "mvtec_ad"),
            "data.category": "bottle,carpet",
        }
    )
    report = train(config, tmp_path)
    assert list(report["categories"]) == ["bottle", "carpet"]
    (detector,) = built
    assert detector.programs.train_step._cache_size() == 1
    assert detector.programs.level_step._cache_size() == 1
