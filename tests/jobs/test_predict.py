"""Predicting: every photograph once, whatever is among them and whenever it is stopped."""

import csv
import json
import signal

import pytest
from PIL import Image

from dtsnet_jax.jobs.predict import predict
from dtsnet_jax.jobs.train import train
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


def score(run, new, out, **options):
    detectors = Detectors(run, false_alarms=0.5, review=0.9)
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
    assert score(run, new, out).total() == 16


@pytest.mark.parametrize("sort", ["copy", "move"])
def test_photographs_are_sorted_by_what_was_decided(run, new, tmp_path, sort):
    out = tmp_path / "out"
    counts = score(run, new, out, sort=sort, heatmaps=False)
    found = {folder: len(list((out / folder).glob("*.*"))) for folder in counts}
    assert found == dict(counts)
    assert len(list(new.iterdir())) == (15 if sort == "copy" else 0)
    assert not (out / "heatmaps").exists()


def test_a_killed_prediction_continues_and_scores_nothing_twice(run, tmp_path):
    new, out = tmp_path / "new", tmp_path / "out"
    for index in range(300):
        save(photograph(index), new / f"{index}.png")
    command = ("--job=predict", "--workdir", run, "--images", new, "--out", out)
    killed = 0
    for _ in range(3):
        process = launch(*command)
        before = len(rows(out)) if (out / "predictions.jsonl").is_file() else 0
        while process.poll() is None:
            if (out / "predictions.jsonl").is_file() and len(rows(out)) > before + 20:
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
        process.communicate()
    assert killed == 3
    process = launch(*command, "--fail_on_ng", "--false_alarms=0.9999")
    assert "another detector" in process.communicate()[1] and process.returncode == 2
    process = launch(*command)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    files = [row["file"] for row in rows(out)]
    assert len(files) == len(set(files)) == 300
