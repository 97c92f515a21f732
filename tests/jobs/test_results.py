"""When a result counts: for the weights, images and scoring that it was made from."""

import signal
from contextlib import contextmanager

import pytest
import safetensors.numpy
from PIL import Image

from dtsnet_jax.errors import Interrupted, UserError
from dtsnet_jax.jobs.evaluate import evaluate
from dtsnet_jax.jobs.report import report
from dtsnet_jax.jobs.train import train
from dtsnet_jax.report.table import METRICS
from dtsnet_jax.run import Run
from dtsnet_jax.seed_run import SeedRun
from dtsnet_jax.training import checkpoints
from tests.helpers import only_result, seed_run, small_config
from tests.miniature import save
from tests.signals import interrupt_after


def test_without_masks_only_images_are_measured_until_masks_are_added(own_images, tmp_path, capsys):
    (own_images / "masks").rename(tmp_path / "masks")
    config = small_config(own_images, train__epochs=1)
    result = only_result(train(config, tmp_path / "run"))
    assert set(result["metrics"]) == {"image_auroc", "image_average_precision", "image_f1_max"}
    assert "no masks" in capsys.readouterr().out

    (tmp_path / "masks").rename(own_images / "masks")
    result = only_result(train(config, tmp_path / "run"))
    assert set(result["metrics"]) == set(METRICS)
    printed = capsys.readouterr().out
    assert "trained already" in printed and "measured already" not in printed

    assert only_result(train(config, tmp_path / "run")) == result
    assert "measured already" in capsys.readouterr().out

    config.data.invert_masks = True
    inverted = only_result(train(config, tmp_path / "run"))
    assert inverted["metrics"]["pixel_auroc"] != result["metrics"]["pixel_auroc"]
    printed = capsys.readouterr().out
    assert "3 mark more than half" in printed and "measured already" not in printed


def test_epochs_lowered_to_what_is_trained_make_unfinished_weights_finished(own_images, tmp_path):
    with interrupt_after(4):
        train(small_config(own_images), tmp_path)
    evaluate(small_config(own_images), tmp_path)
    result = only_result(train(small_config(own_images, train__epochs=2), tmp_path))
    assert result["trained_to"] == result["last_step"] == 4
    assert "NOT FINISHED" not in (tmp_path / "results.md").read_text()


def test_unfinished_weights_are_no_final_result(own_images, tmp_path, capsys):
    config = small_config(own_images)
    with interrupt_after(3):
        train(config, tmp_path)
    result = only_result(evaluate(config, tmp_path))
    assert (result["trained_to"], result["last_step"]) == (3, 8)
    assert "NOT FINISHED: parts, seed 111, at step 3 of 8" in capsys.readouterr().out
    assert "NOT FINISHED" in (tmp_path / "results.md").read_text()
    assert "NOT FINISHED" in (tmp_path / "report.html").read_text()
    with pytest.raises(UserError, match="holds no finished category"):
        report(config, tmp_path)
    assert "left out, not finished: parts, seed 111\n" in capsys.readouterr().out

    result = only_result(train(config, tmp_path))
    assert (result["trained_to"], result["last_step"]) == (8, 8)
    assert "NOT FINISHED" not in (tmp_path / "results.md").read_text()
    assert only_result(report(config, tmp_path)) == result


def test_contents_count_and_places_do_not(own_images, trained_run, tmp_path, capsys):
    result = only_result(report(Run(trained_run).config(), trained_run))
    own_images.rename(tmp_path / "moved" if (tmp_path / "moved").mkdir() else tmp_path / "m")
    (tmp_path / "m").rename(tmp_path / "moved" / "parts")
    moved = small_config(tmp_path / "moved" / "parts", train__epochs=1)
    assert only_result(train(moved, trained_run))["metrics"] == result["metrics"]
    assert "measured already" in capsys.readouterr().out

    test_image = tmp_path / "moved" / "parts" / "defective" / "scratch" / "001.png"
    save(Image.new("RGB", (48, 40), "red"), test_image)
    train(moved, trained_run)
    assert "measured already" not in capsys.readouterr().out

    save(Image.new("RGB", (48, 40)), tmp_path / "moved" / "parts" / "normal" / "003.png")
    for job in (train, evaluate):
        moved.scoring.calibrate = job is evaluate
        with pytest.raises(UserError, match="training images"):
            job(moved, trained_run)


def test_weights_are_not_scored_with_other_settings_where_those_of_the_run_are_lost(
    own_images, trained_run
):
    (trained_run / "config.json").unlink()
    other = small_config(own_images, train__epochs=1, data__image_size=64)
    for job in (evaluate, train):
        with pytest.raises(UserError, match="trained with other settings"):
            job(other, trained_run)


def test_a_damaged_result_is_measured_again_and_damaged_settings_are_named(
    own_images, trained_run, capsys
):
    config = small_config(own_images, train__epochs=1)
    result = only_result(report(config, trained_run))
    (seed_run(trained_run).directory / "result.json").write_text("")
    again = only_result(train(config, trained_run))
    assert again["metrics"] == result["metrics"]
    assert "measured already" not in capsys.readouterr().out
    (trained_run / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json' is damaged"):
        report(config, trained_run)


def test_a_result_is_kept_until_there_is_a_new_one(own_images, trained_run, monkeypatch):
    config = small_config(own_images, train__epochs=1)
    reports = report(config, trained_run)

    def fail(*_, **__):
        raise Interrupted(signal.SIGINT)

    for name in ("detectors.fitted.Fitted.score_maps", "jobs.drawing.write_gallery"):
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr(f"dtsnet_jax.{name}", fail)
            evaluate(config, trained_run)
        assert report(config, trained_run) == reports
        assert (trained_run / "report.html").read_text().count("data:image/jpeg") == 5
        assert not list(trained_run.rglob("*.partial"))


def test_weights_that_a_training_replaces_meanwhile_are_loaded_anew(
    own_images, trained_run, monkeypatch
):
    (newest,) = seed_run(trained_run).checkpoints.iterdir()
    older = newest.rename(newest.with_name("1"))
    load = checkpoints.load_weights

    def replace(*arguments, **options):
        if older.is_dir():
            older.rename(newest)
        return load(*arguments, **options)

    monkeypatch.setattr(checkpoints, "load_weights", replace)
    result = only_result(evaluate(small_config(own_images, train__epochs=1), trained_run))
    assert result["step"] == int(newest.name)


def test_what_another_launch_measures_meanwhile_is_not_measured_again(
    own_images, trained_run, monkeypatch, capsys
):
    config = small_config(own_images, train__epochs=1)
    result = only_result(report(config, trained_run))
    file = seed_run(trained_run).directory / "result.json"
    stored = file.read_text()
    file.unlink()

    @contextmanager
    def measuring(run):
        file.write_text(stored)
        yield

    monkeypatch.setattr(SeedRun, "measuring", measuring)
    assert only_result(train(config, trained_run)) == result
    assert "measured already" in capsys.readouterr().out


def test_a_report_leaves_out_pictures_that_another_launch_draws_anew(own_images, trained_run):
    next(seed_run(trained_run).gallery.iterdir()).unlink()
    report(small_config(own_images, train__epochs=1), trained_run)
    assert (trained_run / "report.html").read_text().count("data:image/jpeg") == 4


def test_weights_are_not_scored_with_another_teacher(own_images, trained_run, tmp_path):
    config = small_config(own_images, train__epochs=1)
    tensors = safetensors.numpy.load_file(config.encoder.weights)
    tensors["conv1.weight"] = 2 * tensors["conv1.weight"]
    safetensors.numpy.save_file(tensors, tmp_path / "other.safetensors")
    config.encoder.weights = str(tmp_path / "other.safetensors")
    for job in (evaluate, train):
        with pytest.raises(UserError, match="trained with other teacher"):
            job(config, trained_run)


def test_a_report_holds_one_scoring(own_images, trained_run):
    config = small_config(own_images, train__epochs=1)
    other = small_config(own_images, train__epochs=1, scoring__smoothing=0.0)
    evaluate(other, trained_run)
    with pytest.raises(UserError, match="holds no finished category"):
        report(config, trained_run)
    stored = Run(trained_run).config()
    assert stored.scoring.smoothing == 0.0
    assert "folder" in report(stored, trained_run)
