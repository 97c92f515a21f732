"""Whole jobs on real weights: trained, measured, evaluated, continued."""

import json
import shutil
import signal
import time

import jax
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from dtsnet_jax.errors import UserError
from dtsnet_jax.jobs.evaluate import evaluate
from dtsnet_jax.jobs.report import report
from dtsnet_jax.jobs.train import train
from dtsnet_jax.report.table import METRICS
from dtsnet_jax.run import Run, newest_step
from dtsnet_jax.training.progress import read_records
from tests.helpers import final_state, interrupt_after, launch_small, seed_run, small_config
from tests.miniature import save


def only_result(reports):
    (one,) = reports.values()
    return one["categories"]["parts"]["seeds"][0]


def assert_same_state(ours, expected):
    jax.tree.map(np.testing.assert_array_equal, ours, expected)


def test_train_and_evaluate_a_folder(own_images, tmp_path):
    config = small_config(own_images, encoder__name="efficientnet_lite0")
    config.encoder.weights = "imagenet"
    reports = train(config, tmp_path / "run")
    result = only_result(reports)
    assert result["step"] == result["trained_to"] == result["last_step"] == 8
    assert set(result["metrics"]) == set(METRICS)
    assert set(result["thresholds"]) == {"image", "pixel"}
    assert all(0 <= value <= 1 for value in result["metrics"].values())
    assert len(result["images"]) == result["test_images"] == 5
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == reports["folder"]

    directory = seed_run(tmp_path / "run").directory
    pictures = sorted(path.name for path in (directory / "heatmaps").iterdir())
    assert pictures == [
        "good_008.png", "good_009.png", "scratch_000.png", "scratch_001.png", "scratch_002.png"
    ]  # fmt: skip
    assert Image.open(directory / "heatmaps" / pictures[0]).width == 3 * 64
    records = read_records(directory)
    assert [record["step"] for record in records] == [2, 4, 6, 8]
    assert records[-1]["loss"] < records[0]["loss"]
    assert list(directory.glob("events.out.tfevents*"))

    shutil.rmtree(directory / "checkpoints" / "8" / "rest")  # scoring does not need it
    again = only_result(evaluate(config, tmp_path / "run"))
    assert again["images"] == result["images"]


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


def test_a_run_that_is_killed_and_interrupted_ends_with_the_same_weights(own_images, tmp_path):
    config = small_config(own_images, train__epochs=6)
    train(config, tmp_path / "whole")
    options = ("--config.train.epochs=6", "--config.train.checkpoint_minutes=0")
    step = 0
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        process = launch_small(own_images, tmp_path / "run", *options)
        checkpoints = seed_run(tmp_path / "run").checkpoints
        while (newest_step(checkpoints) or 0) <= step and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate()
        assert process.returncode == code, err
        assert "Traceback" not in err
        assert not (tmp_path / "run" / "results.json").exists()
        step = newest_step(checkpoints)
        assert 0 < step < 12
    train(config, tmp_path / "run")
    assert_same_state(final_state(tmp_path / "run"), final_state(tmp_path / "whole"))
    records = read_records(seed_run(tmp_path / "run").directory)
    assert [record["step"] for record in records] == [2, 4, 6, 8, 10, 12]
    assert not [path for path in (tmp_path / "run").rglob("*") if "tmp" in path.name]
    assert not list((tmp_path / "run").rglob(".*.partial"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_first_even_where_no_checkpoint_is_due(number, own_images, tmp_path):
    config = small_config(own_images)
    with interrupt_after(3, number) as interrupted:
        train(config, tmp_path)
    assert interrupted.value.signal == number
    assert newest_step(seed_run(tmp_path).checkpoints) == 3


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

    result = only_result(train(config, tmp_path))
    assert (result["trained_to"], result["last_step"]) == (8, 8)
    assert "NOT FINISHED" not in (tmp_path / "results.md").read_text()
    assert only_result(report(config, tmp_path)) == result


def test_more_epochs_continue_and_fewer_are_refused(own_images, tmp_path):
    train(small_config(own_images, train__epochs=1), tmp_path / "run")
    config = small_config(own_images, train__epochs=3)
    assert only_result(train(config, tmp_path / "run"))["step"] == 6
    train(config, tmp_path / "whole")
    assert_same_state(final_state(tmp_path / "run"), final_state(tmp_path / "whole"))
    with pytest.raises(UserError, match=r"to step 6, beyond step 4 that train\.epochs asks for"):
        train(small_config(own_images, train__epochs=2), tmp_path / "run")


def test_contents_count_and_places_do_not(own_images, tmp_path, capsys):
    config = small_config(own_images, train__epochs=1)
    result = only_result(train(config, tmp_path / "run"))
    own_images.rename(tmp_path / "moved" if (tmp_path / "moved").mkdir() else tmp_path / "m")
    (tmp_path / "m").rename(tmp_path / "moved" / "parts")
    moved = small_config(tmp_path / "moved" / "parts", train__epochs=1)
    assert only_result(train(moved, tmp_path / "run"))["metrics"] == result["metrics"]
    assert "measured already" in capsys.readouterr().out

    test_image = tmp_path / "moved" / "parts" / "defective" / "scratch" / "001.png"
    save(Image.new("RGB", (48, 40), "red"), test_image)
    train(moved, tmp_path / "run")
    assert "measured already" not in capsys.readouterr().out

    save(Image.new("RGB", (48, 40)), tmp_path / "moved" / "parts" / "normal" / "003.png")
    for job in (train, evaluate):
        moved.scoring.calibrate = job is evaluate
        with pytest.raises(UserError, match="training images"):
            job(moved, tmp_path / "run")


def test_a_run_with_other_settings_is_not_overwritten(own_images, tmp_path):
    train(small_config(own_images, train__epochs=1), tmp_path)
    for changes, message in (
        ({"train__batch_size": 8}, r"train\.batch_size=4.*--workdir"),
        ({"data__image_size": 96}, r"data\.image_size=64"),
        ({"student__bottleneck": "rd"}, r"student\.bottleneck='mff'"),
    ):
        for job in (train, evaluate, report):
            with pytest.raises(UserError, match=message):
                job(small_config(own_images, train__epochs=1, **changes), tmp_path)


def test_a_run_of_another_version_is_named(own_images, tmp_path):
    config = small_config(own_images, train__epochs=1)
    train(config, tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["train"]["accumulate"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match=r"config\.json' lacks the field train\.accumulate"):
        evaluate(config, tmp_path)


def test_jobs_that_train_nothing_do_not_ask_for_a_batch_that_can_be_shared(own_images, tmp_path):
    config = small_config(own_images, train__epochs=1)
    train(config, tmp_path / "run")
    odd = small_config(own_images, train__batch_size=5)  # no whole number of pairs
    with pytest.raises(UserError, match=r"train\.batch_size is 5.*set it to 4 or 6"):
        train(odd, tmp_path / "odd")
    with pytest.raises(UserError, match="nothing that was trained"):
        evaluate(odd, tmp_path / "odd")


def test_two_launches_do_not_train_the_same_weights(own_images, tmp_path):
    with (
        seed_run(tmp_path).training(),
        pytest.raises(UserError, match="is being trained by another process"),
    ):
        train(small_config(own_images), tmp_path)


def test_an_evaluation_leaves_a_running_training_alone(own_images, tmp_path):
    config = small_config(own_images, train__epochs=1)
    train(config, tmp_path)
    being_saved = seed_run(tmp_path).checkpoints / "9.orbax-checkpoint-tmp"
    being_saved.mkdir()
    evaluate(config, tmp_path)
    assert being_saved.is_dir()
    train(small_config(own_images, train__epochs=2), tmp_path)
    assert not being_saved.exists()


def test_a_loss_that_is_not_finite_ends_training_at_once(own_images, tmp_path):
    config = small_config(own_images, train__learning_rate=1e30)
    config.train.checkpoint_minutes = 0.0
    with pytest.raises(UserError, match=r"diverged at step [2-9]: .*learning_rate=1e\+30") as error:
        train(config, tmp_path)
    good = newest_step(seed_run(tmp_path).checkpoints)
    assert f"that of step {good} in" in str(error.value)
    params = final_state(tmp_path).params
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def test_weights_are_not_scored_with_another_teacher(own_images, tmp_path):
    config = small_config(own_images, train__epochs=1)
    train(config, tmp_path / "run")
    tensors = safetensors.numpy.load_file(config.encoder.weights)
    tensors["conv1.weight"] = 2 * tensors["conv1.weight"]
    safetensors.numpy.save_file(tensors, tmp_path / "other.safetensors")
    config.encoder.weights = str(tmp_path / "other.safetensors")
    for job in (evaluate, train):
        with pytest.raises(UserError, match="trained with other teacher"):
            job(config, tmp_path / "run")


def test_a_report_holds_one_scoring(own_images, tmp_path):
    config = small_config(own_images, train__epochs=1)
    train(config, tmp_path)
    other = small_config(own_images, train__epochs=1, scoring__smoothing=0.0)
    evaluate(other, tmp_path)
    with pytest.raises(UserError, match="holds no finished category"):
        report(config, tmp_path)
    stored = Run(tmp_path).config()
    assert stored.scoring.smoothing == 0.0
    assert "folder" in report(stored, tmp_path)
