"""Test images that were learned from are named wherever their figures stand."""

import shutil

import numpy as np
from PIL import Image

from dtsnet_jax.inputs.leaks import strangers
from dtsnet_jax.jobs.evaluate import evaluate
from dtsnet_jax.jobs.train import train
from tests.helpers import only_result, small_config


def knn_config(root):
    return small_config(root, detector="knn", synthesis__every=0, knn__coreset_size=50)


def test_the_same_file_is_named_before_and_after(own_images, tmp_path, capsys):
    learned = own_images / "normal" / "000.png"
    shutil.copy(learned, own_images / "defective" / "scratch" / "copy.png")
    result = only_result(train(knn_config(own_images), tmp_path / "run"))
    (note,) = [line for line in result["notes"] if "LEAK" in line]
    assert note.startswith("LEAK: 1 test images are training images as well (first: '")
    assert f"copy.png' is '{learned}')" in note
    before, after = capsys.readouterr().out.split("choosing 50 of")
    assert note in before
    assert note in after
    assert note in (tmp_path / "run" / "results.md").read_text()
    assert "LEAK: 1 test images" in (tmp_path / "run" / "report.html").read_text()


def test_the_same_pixels_in_another_file_are_named(own_images, tmp_path):
    image = Image.open(own_images / "normal" / "000.png")
    image.save(own_images / "defective" / "scratch" / "copy.bmp")
    config = knn_config(own_images)
    found = [only_result(job(config, tmp_path / "run"))["notes"] for job in (train, evaluate)]
    assert found[0] == found[1]
    assert sum("copy.bmp' is '" in line for line in found[0]) == 1


def test_without_a_leak_nothing_is_said(own_images, tmp_path):
    assert only_result(train(knn_config(own_images), tmp_path))["notes"] == []


def test_good_test_images_that_score_higher_than_calibration_images_are_named():
    alike = np.random.default_rng(0).normal(size=60).tolist()
    assert strangers(alike[:30], alike[30:]) == strangers([], alike) == strangers(alike, []) == []
    (note,) = strangers(alike[:30], [score + 2 for score in alike[30:]])
    assert "LIMITS WILL NOT HOLD" in note and "held_back_by=group" in note
    assert strangers([score + 2 for score in alike[:30]], alike[30:]) == []  # fewer false alarms
