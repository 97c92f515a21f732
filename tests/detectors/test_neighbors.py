"""The baseline of nearest neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.distance import cdist

from dtsnet_jax.detectors.learner import build_learner, scoring_options
from dtsnet_jax.detectors.neighbors import greedy_k_center, nearest_distance, patch_vectors
from dtsnet_jax.inputs.catalogs import chosen_catalogs
from dtsnet_jax.inputs.store import Images
from dtsnet_jax.jobs.table import Table
from dtsnet_jax.training.schedule import Length
from tests.helpers import seed_run, small_config


def test_greedy_k_center_covers_as_a_plain_loop_does():
    vectors = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    chosen = np.asarray(greedy_k_center(vectors, 12, jax.random.key(3)))
    expected = [chosen[0]]
    for _ in range(11):
        expected.append(cdist(vectors, vectors[expected]).min(axis=1).argmax())
    np.testing.assert_array_equal(chosen, expected)


def test_nearest_distance_and_patch_vectors_follow_their_definitions():
    generator = np.random.default_rng(0)
    vectors, bank = generator.normal(size=(4, 7)), generator.normal(size=(9, 7))
    distances = nearest_distance(jnp.asarray(vectors), jnp.asarray(bank))
    np.testing.assert_allclose(distances, cdist(vectors, bank).min(axis=1), rtol=1e-5)
    fine = generator.normal(size=(1, 4, 4, 2)).astype(np.float32)
    coarse = generator.normal(size=(1, 2, 2, 3)).astype(np.float32)
    features = tuple(map(jnp.asarray, (fine, 5 * fine, 3 * coarse)))
    joined = np.asarray(patch_vectors(features, (2, 3), jnp.array([9.0, 0.5, 2.0])))
    fine, coarse = (
        x / np.sqrt(np.square(x).sum(axis=-1, keepdims=True) + damping)
        for x, damping in ((5 * fine, 0.5), (3 * coarse, 2.0))
    )
    assert joined.shape == (1, 4, 4, 5)
    np.testing.assert_allclose(joined[0, 0, 0, :2], fine[0, :2, :2].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(joined[0, 1, 1, :2], fine[0, :3, :3].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(joined[0, 2, 3, 2:], coarse[0].mean((0, 1)), rtol=1e-5)


def test_they_compute_in_the_precision_that_is_asked_for(own_images, tmp_path):
    maps = {}
    for precision in ("float32", "bfloat16"):
        config = small_config(own_images, detector="knn", precision=precision, knn__coreset_size=20)
        config.synthesis.every = 0
        table = Table(config, tmp_path / precision)
        (row,), (catalog,) = table.rows, chosen_catalogs(config)
        images = Images().of(config, catalog)
        detector = build_learner(config, table.teacher(row))
        run, scoring = seed_run(tmp_path / precision), scoring_options(config)
        detector.fit(images, run, length=Length(1, 0), scoring=scoring)
        fitted = detector.load(images, run, scoring)
        maps[precision] = fitted.score_maps(images.test.images, batch_size=4)
    difference = np.abs(maps["float32"] - maps["bfloat16"]).max()
    assert 1e-4 < difference < 0.1
    assert table.teacher(row).dtype == jnp.bfloat16
