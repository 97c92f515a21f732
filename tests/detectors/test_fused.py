"""Student and nearest neighbours as one detector."""

import numpy as np
import pytest

from dtsnet_jax.detectors.detector import build_detector, scoring_options
from dtsnet_jax.detectors.fused import scale
from dtsnet_jax.inputs.catalogs import chosen_catalogs
from dtsnet_jax.inputs.store import Images
from dtsnet_jax.jobs.table import Table
from dtsnet_jax.jobs.train import train
from dtsnet_jax.training.progress import read_records
from tests.helpers import assert_same_state, final_state, only_result, seed_run, small_config

FIELDS = {"detector": "student+knn", "knn__coreset_size": 40, "scoring__top_share": 0.05}


def parts_of(config, workdir):
    """The images, and the fitted detectors: fused, student, neighbours."""
    table = Table(config, workdir)
    (row,), (catalog,) = table.rows, chosen_catalogs(config)
    images, fitted = Images().of(config, catalog), []
    for detector in ("student+knn", "student", "knn"):
        config.detector = detector
        built = build_detector(config, table.teacher(row))
        fitted.append(built.load(images, seed_run(workdir), scoring_options(config)))
    config.detector = "student+knn"
    return images, *fitted


def test_maps_are_a_sum_on_the_scale_of_good_images(own_images, tmp_path):
    config = small_config(own_images, train__evaluate_every=2, **FIELDS)
    result = only_result(train(config, tmp_path))
    images, *fitted = parts_of(config, tmp_path)
    fused, student, neighbors = (one.score_maps(images.test.images, batch_size=4) for one in fitted)
    scales = [scale(one.good_maps(), config.scoring.top_share) for one in fitted[1:]]
    np.testing.assert_allclose(fused, student / scales[0] + neighbors / scales[1], rtol=1e-4)
    scores = images.test.score(fitted[0].score_maps, scoring_options(config)).images
    np.testing.assert_allclose([one["score"] for one in result["images"]], scores, rtol=1e-5)
    assert fitted[0].step == fitted[1].step > 0

    measured = [r for r in read_records(seed_run(tmp_path).directory) if "epoch" in r]
    assert measured[-1]["image_auroc"] == pytest.approx(result["metrics"]["image_auroc"])

    with np.load(seed_run(tmp_path).bank) as file:  # good images beside the others' vectors alone
        good = file["good"]
    learned = fitted[2].score_maps(images.training.normal, batch_size=4)
    assert len(good) == len(images.training.normal)
    assert good.min() > 1e-3
    assert fitted[2].good_maps().mean() > learned.mean()


def test_a_bank_is_not_filled_twice_and_training_continues(own_images, tmp_path):
    config = small_config(own_images, **FIELDS)
    train(config, tmp_path / "whole")
    train(small_config(own_images, **FIELDS | {"train__epochs": 2}), tmp_path / "parts")
    filled = seed_run(tmp_path / "parts").bank.stat().st_mtime_ns
    train(config, tmp_path / "parts")
    assert seed_run(tmp_path / "parts").bank.stat().st_mtime_ns == filled
    assert_same_state(final_state(tmp_path / "parts"), final_state(tmp_path / "whole"))
