"""Seeds, protocols, tables, the baseline of nearest neighbours, and the report."""

import csv
import json
import re

import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from configs import mvtec, variants
from dtsnet_jax import student
from dtsnet_jax.detectors.neighbors import greedy_k_center, nearest_distance, patch_vectors
from dtsnet_jax.evaluation.measure import score_maps
from dtsnet_jax.inputs import CategoryImages, chosen_catalogs
from dtsnet_jax.jobs.table import compare
from dtsnet_jax.jobs.train import train
from dtsnet_jax.report.paper import paper_figures
from dtsnet_jax.results import seed_directory
from tests.test_jobs import small_config


def test_seeds_are_averaged_and_the_best_epoch_is_marked(own_images, tmp_path, capsys):
    config = small_config(own_images)
    config.update_from_flattened_dict(
        {
            "seeds": (0, 1),
            "train.epochs": 3,
            "train.evaluate_every": 1,
            "protocol": "best_on_test",
        }
    )
    report = train(config, tmp_path)
    parts = report["categories"]["parts"]
    first, second = parts["seeds"]
    assert first["images"] != second["images"]
    for name, value in parts["metrics"].items():
        values = [first["metrics"][name], second["metrics"][name]]
        assert value == pytest.approx(np.mean(values))
        assert parts["deviations"][name] == pytest.approx(np.std(values, ddof=1))

    for one in (first, second):
        measured = [record for record in one["records"] if "epoch" in record]
        assert [record["epoch"] for record in measured] == [1, 2, 3]
        means = [np.mean([r["image_auroc"], r["pixel_auroc"], r["pro"]]) for r in measured]
        best = measured[int(np.argmax(means))]
        assert one["step"] == best["step"]
        assert one["metrics"]["pro"] == pytest.approx(best["pro"])
    out = capsys.readouterr().out
    assert "BEST ON TEST" in out and "±" in out
    assert "BEST ON TEST" in (tmp_path / "results.md").read_text()
    assert 'class="warning"' in (tmp_path / "report.html").read_text()


def test_a_table_trains_what_differs_and_continues(own_images, tmp_path, monkeypatch):
    config = small_config(own_images)
    config.update_from_flattened_dict(
        {"train.epochs": 1, "train.evaluate_every": 1, "knn.coreset_size": 50}
    )
    config.rows = ("rd_fas_mff", "paper", "level_3", "knn")
    rows = variants.rows_of(config)
    reports = compare(config, rows, tmp_path)
    assert list(reports) == list(config.rows)
    assert not (tmp_path / "level_3" / "parts" / "seed-111" / "checkpoints").exists()
    for name, measured in (("paper", True), ("level_3", False)):
        records = reports[name]["categories"]["parts"]["seeds"][0]["records"]
        assert any("epoch" in record for record in records) is measured
    scores = {
        name: [i["score"] for i in report["categories"]["parts"]["seeds"][0]["images"]]
        for name, report in reports.items()
    }
    assert all(np.less(scores["level_3"], scores["paper"]))
    with (tmp_path / "results.csv").open() as file:
        assert [row["variant"] for row in csv.DictReader(file)] == list(config.rows)

    # What is missing is made again, and nothing else is.
    (seed_directory(tmp_path / "knn", "parts", 111) / "result.json").unlink()
    monkeypatch.setattr(student.StudentDetector, "fit", None)
    again = compare(config, rows, tmp_path)
    np.testing.assert_equal(
        [again[name]["mean"] for name in rows], [reports[name]["mean"] for name in rows]
    )


def test_the_report_is_one_file(own_images, tmp_path):
    config = small_config(own_images)
    config.train.epochs = 1
    train(config, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    outside = re.findall(r'(?:src|href)="(?!data:|#)([^"]+)"', page)
    assert outside == []
    assert page.count("data:image/jpeg") == 5  # three defective and two good images
    assert "Per-region overlap" in page and "F1-max at" in page
    assert json.loads((tmp_path / "results.json").read_text())["versions"]["jax"] == jax.__version__


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
    np.testing.assert_allclose(
        nearest_distance(vectors, bank), cdist(vectors, bank).min(axis=1), rtol=1e-5
    )
    fine = generator.normal(size=(1, 4, 4, 2)).astype(np.float32)
    coarse = generator.normal(size=(1, 2, 2, 3)).astype(np.float32)
    joined = np.asarray(patch_vectors((fine, 5 * fine, 3 * coarse), (2, 3)))
    fine, coarse = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (fine, coarse))
    assert joined.shape == (1, 4, 4, 5)
    np.testing.assert_allclose(joined[0, 0, 0, :2], fine[0, :2, :2].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(joined[0, 1, 1, :2], fine[0, :3, :3].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(joined[0, 2, 3, 2:], coarse[0].mean((0, 1)), rtol=1e-5)


def test_the_paper_has_figures_for_every_row_of_its_tables():
    for table in ("table_1", "table_3", "table_4", "table_5", "table_6"):
        for row, config in variants.rows_of(mvtec.get_config(table)).items():
            assert config.variant == row
            figures = paper_figures("mvtec_ad", row)
            assert 0.8 < figures["mean"]["image_auroc"] <= 1
    whole = paper_figures("mvtec_ad", "paper")
    assert set(whole) == {*mvtec.EPOCHS, "mean"}
    for name in whole["mean"]:
        mean = np.mean([whole[category][name] for category in mvtec.EPOCHS])
        assert mean == pytest.approx(whole["mean"][name], abs=6e-4)
    assert paper_figures("folder", "paper") == {}


def test_calibration_divides_each_level_by_its_spread_on_training_images(own_images):
    config = small_config(own_images)
    config.scoring.update(levels=(3,), smoothing=0.0)
    (catalog,) = chosen_catalogs(config)
    images = CategoryImages(config, catalog, None)
    maps = {}
    for calibrate in (False, True):
        config.scoring.calibrate = calibrate
        detector = student.StudentDetector(config)
        fitted = detector.fitted(detector.programs.initial_state(0), images)
        maps[calibrate] = score_maps(fitted, images.test, batch_size=4)
    ratio = maps[False] / maps[True]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-4)
    assert 0 < ratio.mean() < 0.5  # a spread, no mean
