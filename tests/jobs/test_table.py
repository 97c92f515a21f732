"""Seeds, protocols, rows side by side, several launches, and the report."""

import csv
import json
import re
from importlib.metadata import PackageNotFoundError

import jax
import numpy as np
import pytest

from configs import mvtec
from dtsnet_jax import results
from dtsnet_jax.detectors import student
from dtsnet_jax.detectors.learner import scoring_options
from dtsnet_jax.detectors.lengths import usual_damping
from dtsnet_jax.evaluation.measure import selection_value
from dtsnet_jax.inputs.catalogs import chosen_catalogs
from dtsnet_jax.jobs import do_job, table
from dtsnet_jax.jobs.report import report
from dtsnet_jax.jobs.table import Table
from dtsnet_jax.jobs.train import train
from dtsnet_jax.run import Run
from dtsnet_jax.seed_run import newest_step
from dtsnet_jax.training import watch
from dtsnet_jax.training.checkpoints import Checkpoints
from tests.helpers import SMALL, seed_run, small_config
from tests.signals import interrupt_after

BEST = {"train__epochs": 3, "train__evaluate_every": 1, "protocol": "best_on_test"}


def test_seeds_are_averaged_and_the_best_epoch_is_marked(own_images, tmp_path, capsys):
    config = small_config(own_images, seeds=(0, 1), **BEST)
    parts = train(config, tmp_path)["folder"]["categories"]["parts"]
    first, second = parts["seeds"]
    assert first["images"] != second["images"]
    for name, value in parts["metrics"].items():
        values = [first["metrics"][name], second["metrics"][name]]
        assert value == pytest.approx(np.mean(values))
        assert parts["deviations"][name] == pytest.approx(np.std(values, ddof=1))

    for one in (first, second):
        measured = [record for record in one["records"] if "epoch" in record]
        assert [record["epoch"] for record in measured] == [1, 2, 3]
        means = [
            np.mean([r["image_auroc"], r["pixel_auroc"], r["pro_per_image"]]) for r in measured
        ]
        best = measured[int(np.argmax(means))]
        assert one["step"] == best["step"] and one["trained_to"] == 6
        assert one["metrics"]["pro"] == pytest.approx(best["pro"])
    out = capsys.readouterr().out
    assert "BEST ON TEST" in out and "±" in out
    assert "BEST ON TEST" in (tmp_path / "results.md").read_text()
    assert 'class="warning"' in (tmp_path / "report.html").read_text()


def test_pictures_may_be_asked_for_later_whatever_the_protocol(own_images, tmp_path):
    config = small_config(own_images, scoring__heatmaps=False, **BEST)
    train(config, tmp_path)
    heatmaps = seed_run(tmp_path).heatmaps
    assert not heatmaps.exists()
    config.scoring.heatmaps = True
    assert "folder" in report(config, tmp_path)
    train(config, tmp_path)
    assert len(list(heatmaps.iterdir())) == 5


def ascending(monkeypatch):
    """Every measurement is better than the one before."""
    values = iter(range(100))
    monkeypatch.setattr(watch, "selection_value", lambda metrics: float(next(values)))


@pytest.mark.parametrize("after", ["best", "checkpoint"])
def test_the_best_weights_survive_a_kill_at_any_moment(after, own_images, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    ascending(monkeypatch)
    config = small_config(own_images, train__checkpoint_minutes=60.0, **BEST)
    save = Checkpoints.save

    def save_or_die(checkpoints, step, state):
        path = checkpoints._directory.name
        if step == 4 and path == "checkpoints" and after == "best":
            raise Killed
        save(checkpoints, step, state)
        if step == 4 and path == "checkpoints":
            checkpoints.wait()
            raise Killed

    monkeypatch.setattr(Checkpoints, "save", save_or_die)
    with pytest.raises(Killed):
        train(config, tmp_path)
    monkeypatch.setattr(Checkpoints, "save", save)
    run = seed_run(tmp_path)
    assert newest_step(run.best) == 4
    assert newest_step(run.checkpoints) == (2 if after == "best" else 4)

    best = []
    monkeypatch.setattr(
        watch.BestState, "save_if_better", lambda self, *_: best.append(newest_step(run.best))
    )
    train(config, tmp_path)
    assert best[0] == (2 if after == "best" else 4)  # never later than training


def test_a_table_trains_what_differs_and_continues(own_images, tmp_path, monkeypatch):
    config = small_config(
        own_images,
        train__epochs=1,
        train__evaluate_every=1,
        knn__coreset_size=50,
        rows=("rd_fas_mff", "paper", "level_3", "knn"),
    )
    loaded = []
    load_teacher = table.load_teacher
    monkeypatch.setattr(
        table, "load_teacher", lambda *a, **k: loaded.append(a) or load_teacher(*a, **k)
    )
    reports = train(config, tmp_path)
    assert len(loaded) == 1
    assert list(reports) == list(config.rows)
    assert not (tmp_path / "level_3" / "parts" / "seed-111" / "checkpoints").exists()
    for name, measured in (("paper", True), ("level_3", False)):
        records = reports[name]["categories"]["parts"]["seeds"][0]["records"]
        assert any("epoch" in record for record in records) is measured
    scores = {
        name: [i["score"] for i in one["categories"]["parts"]["seeds"][0]["images"]]
        for name, one in reports.items()
    }
    assert all(np.less(scores["level_3"], scores["paper"]))
    with (tmp_path / "results.csv").open() as file:
        assert [row["variant"] for row in csv.DictReader(file)] == list(config.rows)

    # What is missing is made again, and nothing else is.
    (seed_run(tmp_path / "knn").directory / "result.json").unlink()
    monkeypatch.setattr(student.StudentLearner, "fit", None)
    again = train(config, tmp_path)
    means = [[one[name]["mean"] for name in config.rows] for one in (again, reports)]
    np.testing.assert_equal(*means)
    assert report(Run(tmp_path).config(), tmp_path).keys() == reports.keys()


def test_rows_that_are_trained_alike_share_a_learner(own_images, tmp_path):
    config = small_config(own_images, rows=("paper", "level_3", "rd"))
    opened = Table(config, tmp_path)
    paper, level_3, rd = opened.rows
    assert opened.learner(paper) is opened.learner(level_3) is not opened.learner(rd)
    assert opened.teacher(paper) is opened.teacher(rd)
    assert level_3.trained_in == paper.run


def test_the_order_of_the_rows_may_change(own_images, tmp_path, capsys):
    rows = ("paper", "level_3")
    for order in (rows, rows[::-1]):
        config = small_config(own_images, train__epochs=1, rows=order)
        train(config, tmp_path)
    out = capsys.readouterr().out
    assert out.count("measured already") == 2
    assert "row paper sets nothing\nrow level_3 sets scoring.levels=(3,)\n" in out
    assert list(report(Run(tmp_path).config(), tmp_path)) == list(rows[::-1])


def test_rows_that_keep_their_best_share_weights_only_with_their_scoring(own_images, tmp_path):
    config = small_config(own_images, rows=("paper", "level_3"), **BEST)
    paper, level_3 = Table(config, tmp_path).rows
    assert level_3.trained_in == level_3.run != paper.run


def test_textures_that_no_row_needs_are_not_looked_for(own_images, tmp_path):
    config = small_config(own_images, rows=("knn",), data__textures="/nowhere")
    config.knn.coreset_size = 20
    assert "knn" in train(config, tmp_path)


def test_the_report_is_one_file(trained_run):
    page = (trained_run / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    outside = re.findall(r'(?:src|href)="(?!data:|#)([^"]+)"', page)
    assert outside == []
    assert page.count("data:image/jpeg") == 5  # three defective and two good images
    assert "Per-region overlap" in page and "F1-max at" in page
    (environment,) = json.loads((trained_run / "results.json").read_text())["environments"]
    assert environment["versions"]["jax"] == jax.__version__


def test_a_library_that_is_not_installed_is_left_out(monkeypatch):
    def version(name):
        if name == "tensorflow-cpu":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(results, "version", version)
    versions = results.environment()["versions"]
    assert "tensorflow-cpu" not in versions and versions["tensorflow"] == "1.0"


def fleet_config(miniatures):
    config = mvtec.get_config()
    config.update_from_flattened_dict(
        SMALL | {"train.epochs": 1, "data.root": str(miniatures / "mvtec_ad")}
    )
    config.data.update(category="bottle,carpet", textures=str(miniatures / "textures"))
    config.data.foreground = "none"
    return config


def test_a_fleet_trains_its_shares_and_one_report_holds_them_all(miniatures, tmp_path, capsys):
    config = fleet_config(miniatures)
    config.data.shard = "0/2"
    with interrupt_after(1):
        train(config, tmp_path)
    for share in range(2):
        config.data.shard = f"{share}/2"
        train(config, tmp_path)
        assert len(list(tmp_path.glob("*/*/result.json"))) == share + 1
    assert not (tmp_path / "results.json").exists()
    assert Run(tmp_path).config().data.shard == ""

    path = seed_run(tmp_path, "carpet").directory / "result.json"
    result = json.loads(path.read_text())
    result["environment"]["device"] = "8 × Another"
    path.write_text(json.dumps(result))
    do_job("report", Run(tmp_path).config(), tmp_path)
    out = capsys.readouterr().out
    assert "not begun" not in out
    merged = json.loads((tmp_path / "results.json").read_text())
    assert list(merged["categories"]) == ["bottle", "carpet"]
    devices = [environment["device"] for environment in merged["environments"]]
    assert len(devices) == 2 and "8 × Another" in devices
    assert "8 × Another" in (tmp_path / "report.html").read_text()


def test_chosen_categories_that_nobody_began_are_named(miniatures, tmp_path, capsys):
    config = fleet_config(miniatures)
    config.data.shard = "0/2"
    train(config, tmp_path)
    do_job("report", Run(tmp_path).config(), tmp_path)
    assert "not begun: carpet\n" in capsys.readouterr().out


def test_what_is_chosen_as_best_is_what_the_released_code_maximises():
    metrics = {"image_auroc": 0.9, "pixel_auroc": 0.6, "pro": 0.0, "pro_per_image": 0.3}
    assert selection_value(metrics) == pytest.approx(0.6)
    assert mvtec.get_config("official").train.evaluate_every == 1


def untrained(config, workdir):
    """The images of a run's only category, what learns them, and its weights before training."""
    opened = Table(config, workdir)
    (row,), (catalog,) = opened.rows, chosen_catalogs(config)
    images, learner = opened.images.of(config, catalog), opened.learner(row)
    state = learner.programs.initial_state(0)
    return images, learner, (state.params, state.batch_stats)


def test_calibration_divides_each_level_by_its_spread_on_training_images(own_images, tmp_path):
    config = small_config(own_images, scoring__levels=(3,), scoring__smoothing=0.0)
    images, learner, weights = untrained(config, tmp_path)
    maps = {}
    for calibrate in (False, True):
        config.scoring.calibrate = calibrate
        fitted = learner.fitted(weights, images, scoring_options(config), None)
        maps[calibrate] = fitted.score_maps(images.test.images, batch_size=4)
    ratio = maps[False] / maps[True]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-4)
    assert 0 < ratio.mean() < 0.5  # a spread, no mean


def test_distances_are_weighed_by_the_damped_lengths_of_the_teachers_vectors(own_images, tmp_path):
    config = small_config(own_images, scoring__levels=(2,), scoring__smoothing=0.0)
    images, learner, weights = untrained(config, tmp_path)
    programs = learner.programs
    maps, sample, scoring = [], images.normal_sample(64), scoring_options(config)
    for damping in (None, usual_damping(programs.teacher, sample, batch_size=4)):
        fitted = learner.fitted(weights, images, scoring, damping)
        maps.append(fitted.score_maps(images.test.images, batch_size=4))
    usual, found = (
        np.square(np.asarray(programs.teacher_step(programs.teacher.arrays, some)[1])).sum(axis=-1)
        for some in (sample.images, images.test.images)
    )
    shares = found / (found + usual.mean())
    assert np.ptp(shares) > 0.01
    corners = (slice(None), *np.ix_((0, -1), (0, -1)))  # enlarging leaves these as they are
    expected = maps[0][corners] * shares[corners]
    np.testing.assert_allclose(maps[1][corners], expected, rtol=1e-4)
