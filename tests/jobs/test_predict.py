"""Predicting: every photograph once, whatever is among them and whenever it is stopped."""

import csv
import json
import os
import signal
import subprocess
import time

import pytest
from PIL import Image

from dtsnet_jax import Detector
from dtsnet_jax.errors import UserError
from dtsnet_jax.jobs.predict import predict
from dtsnet_jax.jobs.train import train
from dtsnet_jax.prediction import log
from dtsnet_jax.prediction.detectors import Detectors
from dtsnet_jax.prediction.line import PredictionOptions
from tests.helpers import launch, photograph, small_config
from tests.miniature import save

FIELDS = {"train__epochs": 1, "data__calibration": 0.6}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run."""
    root = tmp_path_factory.mktemp("trained")
    for index in range(20):
        save(photograph(index), root / "parts" / "normal" / f"{index:03}.png")
    train(small_config(root / "parts", **FIELDS), root / "run")
    return root / "run"


@pytest.fixture
def new(tmp_path):
    """A directory of new photographs, some of which are none."""
    directory = tmp_path / "new"
    for index in range(12):
        save(photograph(200 + index, (60 + index, 80)), directory / f"{index}.png")
    (directory / "broken.png").write_bytes(b"no image")
    (directory / "empty.jpg").write_bytes(b"")
    save(Image.new("1", (1, 1)), directory / "tiny.png")
    return directory


def rows(out):
    lines = (out / "predictions.jsonl").read_text().split("\n")[:-1]  # the last may be cut short
    return [json.loads(line) for line in lines[1:]]


def score(run, new, out, *, false_alarms=0.5, review=0.9, **options):
    detectors = Detectors(run, false_alarms=false_alarms, review=review)
    return predict(detectors, PredictionOptions(images=str(new), out=out, **options))


def test_every_photograph_has_one_row_and_a_picture(run, new, tmp_path, capsys):
    out = tmp_path / "out"
    counts = score(run, new, out)
    assert counts["error"] == 2 and counts.total() == 15
    written = rows(out)
    names = [row["file"].rpartition("/")[2] for row in written]
    assert names == [*(f"{i}.png" for i in range(12)), "broken.png", "empty.jpg", "tiny.png"]
    for row in written:
        assert (row["score"] is None) == (row["error"] is not None) == (row["picture"] is None)
        assert row["picture"] is None or Image.open(out / row["picture"]).size[0] > 1
    with (out / "predictions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["file"] for row in table] == [row["file"] for row in written]
    assert (out / "report.html").is_file()
    printed = capsys.readouterr().out
    assert "2 error" in printed and "50 % false alarms" in printed

    before = (out / "predictions.jsonl").read_bytes()
    assert score(run, new, out) == counts
    assert (out / "predictions.jsonl").read_bytes() == before
    save(photograph(300), new / "0.png")  # another photograph of the same name
    assert score(run, new, out).total() == 15
    assert len(rows(out)) == 16


def test_what_could_not_be_scored_is_tried_again_and_told_once(run, new, tmp_path):
    out = tmp_path / "out"
    score(run, new, out)
    before = rows(out)
    assert score(run, new, out)["error"] == 2
    assert rows(out) == before
    status = (new / "broken.png").stat()
    save(photograph(1), tmp_path / "mended.png").rename(new / "broken.png")
    os.utime(new / "broken.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert score(run, new, out)["error"] == 1
    assert len(rows(out)) == len(before) + 1


def test_a_continued_job_goes_on_where_rows_are_no_longer_in_memory(run, tmp_path, monkeypatch):
    monkeypatch.setattr(log, "RECENT", 2)
    for index in range(40):
        path = tmp_path / "new" / f"{index:02}.png"
        save(photograph(index) if index < 3 else Image.new("RGB", (48, 40), "red"), path)
    paths = sorted((tmp_path / "new").iterdir())
    score(run, tmp_path / "new", tmp_path / "once")
    whole = rows(tmp_path / "once")
    assert [row["drift"] for row in whole].index(True) < 30
    (tmp_path / "part").mkdir()
    for start, end in ((0, 3), (3, 30), (30, 40)):
        for path in paths[start:end]:
            path.rename(tmp_path / "part" / path.name)
        score(run, tmp_path / "part", tmp_path / "out", heatmaps=end != 30)
    continued = rows(tmp_path / "out")
    assert [row["drift"] for row in continued] == [row["drift"] for row in whole]
    numbers = [int(row["picture"][9:15]) for row in continued if row["picture"]]
    assert numbers == list(range(1, 14))


def test_rates_that_cannot_be_leave_nothing_behind(run, new, tmp_path):
    with pytest.raises(UserError, match=r"false_alarms is 1\.5"):
        score(run, new, tmp_path / "out", false_alarms=1.5)
    assert not (tmp_path / "out").exists()


def test_what_was_written_is_not_scored(run, new):
    for _ in range(2):
        assert score(run, new, new / "out", sort="move").total() in (15, 0)
    assert len(rows(new / "out")) == 15


def test_what_was_written_is_not_scored_where_a_link_leads_to_the_photographs(run, new, tmp_path):
    (tmp_path / "link").symlink_to(new, target_is_directory=True)
    for _ in range(2):
        counts = score(run, tmp_path / "link", tmp_path / "link" / "out", sort="copy")
        assert counts.total() == 15 and len(rows(new / "out")) == 15


def test_several_categories_go_by_the_folder(tmp_path):
    for category in ("cup", "lid"):
        for index in range(12):
            path = tmp_path / "parts" / category / "normal" / f"{index:03}.png"
            save(photograph(index + 50 * (category == "lid")), path)
            if index < 3:
                save(photograph(index), tmp_path / "new" / category / path.name)
    save(photograph(0), tmp_path / "new" / "other.png")
    train(small_config(tmp_path / "parts", **FIELDS), tmp_path / "run")
    out = tmp_path / "out"
    counts = predict(
        Detectors(tmp_path / "run"), PredictionOptions(images=str(tmp_path / "new"), out=out)
    )
    assert [row["category"] for row in rows(out)] == ["cup"] * 3 + ["lid"] * 3 + [""]
    assert counts["error"] == 1 and "--category" in rows(out)[-1]["error"]
    with pytest.raises(UserError, match="has the categories cup, lid"):
        Detector.load(tmp_path / "run")


def test_paths_from_standard_input_and_the_exit_code(run, new, tmp_path):
    command = ("--job=predict", "--workdir", run, "--images=-", "--out", tmp_path / "out")
    command += ("--fail_on_ng", "--false_alarms=0.9", "--noheatmaps")
    process = launch(*command, stdin=subprocess.PIPE)
    _, errors = process.communicate("\n".join(map(str, [*sorted(new.iterdir()), "missing.png"])))
    assert process.returncode == 3, errors
    assert len(rows(tmp_path / "out")) == 16


def test_a_watched_directory_is_scored_as_it_fills(run, new, tmp_path):
    out = tmp_path / "out"
    command = ("--job=predict", "--workdir", run, "--images", new, "--out", out, "--watch")
    process = launch(*command, "--sort=move", "--false_alarms=0.5")
    deadline = time.monotonic() + 120
    wanted = 15
    while len(list(out.glob("[ORN][KeG]*/*.png"))) < wanted and time.monotonic() < deadline:
        if (out / "predictions.jsonl").is_file() and len(rows(out)) >= 15 and wanted == 15:
            for index in range(20):
                path = save(photograph(400 + index), tmp_path / f"late{index}.png")
                path.rename(new / path.name)
            wanted = 33  # without the two that are broken, which stay
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert len(rows(out)) == 35
    assert sorted(path.name for path in new.iterdir()) == ["broken.png", "empty.jpg"]
    assert (out / "report.html").is_file()


@pytest.mark.parametrize("sort", ["copy", "move"])
def test_photographs_are_sorted_by_what_was_decided(run, new, tmp_path, sort):
    out = tmp_path / "out"
    counts = score(run, new, out, sort=sort, heatmaps=False)
    if sort == "copy":
        score(run, new, out, sort=sort, heatmaps=False)  # nothing is copied twice
    found = {folder: len(list((out / folder).glob("*.*"))) for folder in counts}
    assert found == dict(counts)
    assert len(list(new.iterdir())) == (15 if sort == "copy" else 0)
    assert not (out / "heatmaps").exists()


def test_a_killed_prediction_continues_and_scores_nothing_twice(run, tmp_path):
    new, out = tmp_path / "new", tmp_path / "out"
    for index in range(150):
        save(photograph(index), new / f"{index}.png")
    command = ("--job=predict", "--workdir", run, "--images", new, "--out", out)
    killed = 0
    for _ in range(2):
        process = launch(*command)
        before = len(rows(out)) if (out / "predictions.jsonl").is_file() else 0
        while process.poll() is None:
            if (out / "predictions.jsonl").is_file() and len(rows(out)) > before + 20:
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.05)
        process.communicate()
    assert killed == 2
    with pytest.raises(UserError, match="another detector"):
        score(run, new, out)
    process = launch(*command)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    files = [row["file"] for row in rows(out)]
    assert len(files) == len(set(files)) == 150
