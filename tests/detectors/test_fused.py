"""Student and nearest neighbours as one detector."""

import numpy as np
import pytest
from PIL import Image

from dtsnet_jax.detectors.fused import unit
from dtsnet_jax.detectors.learner import build_learner, scoring_options
from dtsnet_jax.errors import UserError
from dtsnet_jax.inputs.catalogs import chosen_catalogs
from dtsnet_jax.inputs.store import Images
from dtsnet_jax.jobs.evaluate import evaluate
from dtsnet_jax.jobs.table import Table
from dtsnet_jax.jobs.train import train
from dtsnet_jax.training.records import read_records
from tests.helpers import (
    assert_same_state,
    final_state,
    only_result,
    photograph,
    seed_run,
    small_config,
)
from tests.miniature import save

FIELDS = {"detector": "student+knn", "knn__coreset_size": 40}


def parts_of(config, workdir):
    """The images, and the fitted detectors: fused, student, neighbours; and the neighbours."""
    table = Table(config, workdir)
    (row,), (catalog,) = table.rows, chosen_catalogs(config)
    images, fitted = Images().of(config, catalog), []
    for detector in ("student+knn", "student", "knn"):
        config.detector = detector
        built = build_learner(config, table.teacher(row))
        fitted.append(built.load(images, seed_run(workdir), scoring_options(config)))
    config.detector = "student+knn"
    return images, fitted, built


@pytest.mark.parametrize("fields", [{}, {"data__region": "half"}])
def test_maps_are_a_sum_on_the_scale_of_good_images(own_images, tmp_path, fields):
    if fields:
        half = np.zeros((40, 48), np.uint8)
        half[:, :24] = 1
        fields = {"data__region": str(save(Image.fromarray(half), tmp_path / "half.png"))}
    config = small_config(own_images, train__evaluate_every=2, **FIELDS, **fields)
    workdir = tmp_path / "run"
    result = only_result(train(config, workdir))
    images, fitted, detector = parts_of(config, workdir)
    fused, student, neighbors = (one.score_maps(images.test.images, batch_size=4) for one in fitted)
    sample, scoring = images.normal_sample(64), scoring_options(config)
    others = detector.maps_of_others(sample, seed_run(workdir), scoring)
    valid = np.ones(others.shape, bool) if sample.valid is None else sample.valid
    units = [
        np.std([one[inside].max() for one, inside in zip(maps, valid, strict=True)])
        for maps in (fitted[1].score_maps(sample.images, batch_size=4), others)
    ]
    np.testing.assert_allclose(fused, student / units[0] + neighbors / units[1], rtol=1e-4)
    scores = images.test.score(fitted[0].score_maps, scoring).images
    np.testing.assert_allclose([one["score"] for one in result["images"]], scores, rtol=1e-5)
    assert fitted[0].step == fitted[1].step > 0

    measured = [r for r in read_records(seed_run(workdir).directory) if "epoch" in r]
    assert measured[-1]["image_auroc"] == pytest.approx(result["metrics"]["image_auroc"])
    # Good images are compared with the others' vectors alone, of which none is as near.
    assert others.mean() > fitted[2].score_maps(sample.images, batch_size=4).mean()
    assert only_result(evaluate(config, workdir))["images"] == result["images"]


def test_good_images_that_are_all_the_same_set_no_scale(tmp_path):
    for index in range(4):
        save(photograph(0), tmp_path / "parts" / "normal" / f"{index}.png")
    with pytest.raises(UserError, match=r"4 good images .* --config\.detector=student"):
        train(small_config(tmp_path / "parts", data__held_back=0.0, **FIELDS), tmp_path / "run")


def test_tiles_beside_the_region_set_no_scale():
    maps = np.random.default_rng(0).uniform(size=(6, 4, 4)).astype(np.float32)
    valid = np.ones(maps.shape, bool)
    valid[3:] = False
    assert unit(maps, valid) == unit(maps[:3], None)
    with pytest.raises(UserError, match="good images"):
        unit(maps, np.zeros_like(valid))


def test_a_bank_is_not_filled_twice_and_training_continues(own_images, tmp_path):
    config = small_config(own_images, **FIELDS)
    train(config, tmp_path / "whole")
    train(small_config(own_images, **FIELDS | {"train__epochs": 2}), tmp_path / "parts")
    filled = seed_run(tmp_path / "parts").bank.stat().st_mtime_ns
    train(config, tmp_path / "parts")
    assert seed_run(tmp_path / "parts").bank.stat().st_mtime_ns == filled
    assert_same_state(final_state(tmp_path / "parts"), final_state(tmp_path / "whole"))
