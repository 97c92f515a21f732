"""Whole trainings: what they make, how they continue, what they refuse."""

import gzip
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dtsnet_jax.errors import UserError
from dtsnet_jax.jobs.evaluate import evaluate
from dtsnet_jax.jobs.report import report
from dtsnet_jax.jobs.train import train
from dtsnet_jax.report.table import METRICS
from dtsnet_jax.training.records import read_records
from tests.helpers import (
    assert_same_state,
    final_state,
    only_result,
    seed_run,
    small_config,
)


def test_train_and_evaluate_a_folder(own_images, tmp_path):
    config = small_config(own_images)
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
        "good_002.png", "good_005.png", "scratch_000.png", "scratch_001.png", "scratch_002.png"
    ]  # fmt: skip
    assert Image.open(directory / "heatmaps" / pictures[0]).width == 3 * 256
    records = read_records(directory)
    assert [record["step"] for record in records] == [2, 4, 6, 8]
    assert records[-1]["loss"] < records[0]["loss"]
    assert list(directory.glob("events.out.tfevents*"))

    shutil.rmtree(directory / "checkpoints" / "8" / "rest")  # scoring does not need it
    again = only_result(evaluate(config, tmp_path / "run"))
    assert again["images"] == result["images"]


def test_nearest_neighbours_on_real_weights(own_images, tmp_path):
    config = small_config(
        own_images, encoder__name="efficientnet_lite0", encoder__weights="imagenet", detector="knn"
    )
    config.knn.coreset_size = 50
    result = only_result(train(config, tmp_path))
    assert result["trained_to"] == result["last_step"] == 0
    assert set(result["metrics"]) == set(METRICS)
    assert len(np.load(seed_run(tmp_path).bank)["vectors"]) == 50
    assert only_result(evaluate(config, tmp_path))["images"] == result["images"]


def test_more_epochs_continue_and_fewer_are_refused(own_images, trained_run, tmp_path):
    config = small_config(own_images, train__epochs=3)
    assert only_result(train(config, trained_run))["step"] == 6
    train(config, tmp_path / "whole")
    assert_same_state(final_state(trained_run), final_state(tmp_path / "whole"))
    with pytest.raises(UserError, match=r"to step 6, beyond step 4 that train\.epochs or"):
        train(small_config(own_images, train__epochs=2), trained_run)


def test_a_number_of_visits_says_how_long_to_train(own_images, tmp_path, capsys):
    visits = {"train__epochs": 0, "train__visits": 10, "train__evaluate_every": 1}
    result = only_result(train(small_config(own_images, **visits), tmp_path / "visits"))
    epochs = [record["epoch"] for record in result["records"] if "epoch" in record]
    assert (result["step"], epochs) == (3, [1, 2])  # 8 images, batches of 4
    train(small_config(own_images, train__epochs=2), tmp_path / "epochs")
    continued = small_config(own_images, **visits | {"train__visits": 16})
    train(continued, tmp_path / "visits")
    assert_same_state(final_state(tmp_path / "visits"), final_state(tmp_path / "epochs"))
    with pytest.raises(UserError, match="for 16 image visits, but 4 epochs"):
        evaluate(small_config(own_images, train__evaluate_every=1), tmp_path / "visits")
    assert "visits show" not in capsys.readouterr().out
    train(small_config(own_images, **visits | {"train__visits": 4}), tmp_path / "few")
    assert "4 image visits show 4 of 8 images or tiles" in capsys.readouterr().out


def test_a_run_with_other_settings_is_not_overwritten(own_images, trained_run):
    for changes, message in (
        ({"train__batch_size": 8}, r"train\.batch_size=4.*--workdir"),
        ({"data__image_size": 64}, r"data\.image_size=32"),
        ({"student__bottleneck": "rd"}, r"student\.bottleneck='mff'"),
    ):
        for job in (train, evaluate, report):
            with pytest.raises(UserError, match=message):
                job(small_config(own_images, train__epochs=1, **changes), trained_run)


def test_a_run_of_another_version_is_named(own_images, trained_run):
    stored = json.loads((trained_run / "config.json").read_text())
    del stored["train"]["accumulate"]
    (trained_run / "config.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match=r"config\.json' lacks the field train\.accumulate"):
        evaluate(small_config(own_images, train__epochs=1), trained_run)


def test_jobs_that_train_nothing_do_not_ask_for_a_batch_that_can_be_shared(own_images, tmp_path):
    odd = small_config(own_images, train__batch_size=5)  # no whole number of pairs
    with pytest.raises(UserError, match=r"train\.batch_size is 5.*set it to 4 or 6"):
        train(odd, tmp_path / "odd")
    with pytest.raises(UserError, match="nothing that was trained"):
        evaluate(odd, tmp_path / "odd")
    assert not (tmp_path / "odd").exists()
    odd.update(detector="knn")
    odd.knn.coreset_size = 20
    assert only_result(train(odd, tmp_path / "odd"))["metrics"]


def test_steps_tell_their_norms_and_those_asked_for_are_traced(own_images, tmp_path):
    train(small_config(own_images, train__profile=(2, 3)), tmp_path / "traced")
    train(small_config(own_images), tmp_path / "plain")
    assert_same_state(final_state(tmp_path / "traced"), final_state(tmp_path / "plain"))
    run = seed_run(tmp_path / "traced").directory
    (trace,) = run.glob("plugins/profile/*/*.trace.json.gz")
    with gzip.open(trace) as file:
        events = json.load(file)["traceEvents"]
    steps = {e["args"]["step_num"] for e in events if e.get("name", "").startswith("train")}
    assert steps == {"2", "3"}
    assert not (seed_run(tmp_path / "plain").directory / "plugins").exists()
    for record in read_records(run):
        assert record["gradient_norm"] > 0
        assert 0 < record["update_norm"] < record["parameter_norm"]
        assert 0 <= record["smallest_variance"] < record["largest_variance"]
