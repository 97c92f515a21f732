"""From a trained run to a folder that runs by itself, and what it says of a directory."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dtsnet_jax.jobs.train import train
from tests.helpers import launch, photograph, small_config
from tests.miniature import save

NUMBERS = ("score", "p_value", "unusual", "area", "peak")
STANDALONE = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(sorted(name for name in ("jax", "scipy", "cv2", "dtsnet_jax", "data") if name in sys.modules))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run with calibration images."""
    root = tmp_path_factory.mktemp("trained")
    for index in range(40):
        save(photograph(index), root / "parts" / "normal" / f"{index:03}.png")
    config = small_config(root / "parts", train__epochs=1, data__calibration=0.5)
    train(config, root / "run")
    return root / "run"


def finished(process):
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return printed


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_folder_writes_the_table_that_the_predict_job_writes(run, tmp_path):
    rates = ("--false_alarms=0.2", "--review=0.6")
    exported, new = tmp_path / "exported", tmp_path / "new"
    printed = finished(launch("--job=export", "--workdir", run, "--out", exported, *rates))
    assert "calibration images" in printed and str(exported) in printed
    generator = np.random.default_rng(0)
    for index in range(12):
        save(photograph(200 + index, (60 + index, 80)), new / "early" / f"{index}.png")
        for late in (index, 12 + index):  # another product
            noise = Image.fromarray(generator.random((32, 32)) < 0.5)
            save(noise, new / "late" / f"{late}.png")
    (new / "early" / "broken.png").write_bytes(b"no image")
    (new / "early" / "notes.txt").write_text("no image either")
    predicted = ("--job=predict", "--workdir", run, "--images", new, "--noheatmaps")
    finished(launch(*predicted, "--out", tmp_path / "predicted", *rates))
    command = (exported / "infer.py", new, "--out", tmp_path / "found.csv")
    printed = finished(launch(*command, program=("-c", STANDALONE)))
    assert printed.splitlines()[-2:] == [
        f"{tmp_path / 'found.csv'}: 36 photographs scored, 1 errors", "[]",
    ]  # fmt: skip

    expected, found = rows(tmp_path / "predicted" / "predictions.csv"), rows(tmp_path / "found.csv")
    assert list(found[0]) == list(expected[0]) and len(found) == 37
    assert len({row["decision"] for row in expected}) > 2
    assert len({row["drift"] for row in expected}) == 2
    for one, other in zip(found, expected, strict=True):
        assert bool(one["error"]) == bool(other["error"]) == one["file"].endswith("broken.png")
        for name, value in other.items():
            if name in NUMBERS and value:
                assert float(one[name]) == pytest.approx(float(value), rel=1e-4), name
            elif name not in ("at", "error"):
                assert one[name] == value, (name, one["file"])


def test_mistakes_with_the_folder_get_one_sentence(tmp_path):
    source = Path(__file__).parents[2] / "dtsnet_jax" / "export" / "infer.py"
    (tmp_path / "infer.py").write_bytes(source.read_bytes())
    process = subprocess.run(
        [sys.executable, tmp_path / "infer.py", tmp_path], capture_output=True, text=True
    )
    assert process.returncode == 2
    assert process.stderr.startswith("error: ") and "no exported detector" in process.stderr
