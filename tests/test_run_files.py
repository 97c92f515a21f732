"""Files that a run has written and reads again: damaged ones are named, or made anew."""

import json

import numpy as np
import pytest

from dtsnet_jax.detectors.neighbors import read_bank
from dtsnet_jax.errors import UserError
from dtsnet_jax.run import Run
from dtsnet_jax.training.records import METRICS_FILE, read_records

RECORD = {"made_from": {"teacher": "a"}, "length": {"epochs": 1, "visits": 0}, "last_step": 4}
RESULT = {
    **dict.fromkeys(("seed", "step", "train_images", "test_images"), 1),
    **dict.fromkeys(("trained_to", "last_step"), 4),
    "masks": True,
    "notes": [],
    "training_seconds": 1.5,
    **{name: {} for name in ("metrics", "thresholds", "curves")},
    **{name: [] for name in ("images", "calibration_scores", "records")},
    "made_from": {"weights": {}},
    "environment": {"device": "cpu", "versions": {}},
}


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path).seed_run("parts", 1)
    run.directory.mkdir(parents=True)
    return run


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "damaged", ["", "{", DEEP, [], RECORD | {"length": 3}, RECORD | {"last_step": "4"}]
)
def test_a_damaged_record_of_training_is_named(run, damaged):
    path = run.directory / "made_from.json"
    write(path, RECORD)
    assert run.record() == RECORD
    write(path, damaged)
    with pytest.raises(UserError, match=r"made_from\.json' is damaged, it.*; restore it"):
        run.record()


@pytest.mark.parametrize(
    "damaged",
    [
        *(DEEP, [], {}),
        RESULT | {"metrics": {"image_auroc": None}},
        RESULT | {"images": [{"file": "a.png"}]},
        RESULT | {"calibration_scores": [float("nan")]},
        RESULT | {"curves": {"overlap": [0.5], "false_positive_rate": [0.5, 1.0]}},
        RESULT | {"records": [{"step": 1, "loss": "x"}]},
    ],
)
def test_a_damaged_result_counts_as_none(run, damaged):
    path = run.directory / "result.json"
    write(path, RESULT)
    assert run.result(4) == RESULT
    write(path, damaged)
    assert run.result(4) is None


@pytest.mark.parametrize("damaged", ["{", DEEP, "7", '{"loss": 1}', '{"step": 2, "loss": "x"}'])
def test_a_damaged_line_of_metrics_is_named(run, damaged):
    path, line = run.directory / METRICS_FILE, '{"step": 1, "loss": 0.5}'
    write(path, f"{line}\n{line}\n{damaged}")  # a last line without an end
    assert read_records(run.directory) == [{"step": 1, "loss": 0.5}] * 2
    write(path, f"{line}\n{damaged}\n{line}\n")
    with pytest.raises(UserError, match=r"line 2 of '.*metrics\.jsonl' is damaged, .*; remove it"):
        read_records(run.directory)


GOOD = {
    "vectors": np.ones((3, 2), np.float32),
    "owners": np.arange(3),
    "damping": np.ones(3, np.float32),
    "seconds": 1.0,
}
BANKS = {
    "no owners": {name: GOOD[name] for name in ("vectors", "damping", "seconds")},
    "of a version that did not dampen": {
        "bank": GOOD["vectors"],
        "owners": GOOD["owners"],
        "seconds": 1.0,
    },
    "negative damping": GOOD | {"damping": np.array([1, -1, 1])},
    "damping of two levels": GOOD | {"damping": np.ones(2)},
    "owners of others": GOOD | {"owners": np.arange(4)},
    "not finite": GOOD | {"vectors": np.full((3, 2), np.nan)},
    "damping not finite": GOOD | {"damping": np.array([1, 1, np.inf])},
    "objects": GOOD | {"vectors": np.array([[None]])},
    "text": GOOD | {"seconds": "x"},
}


@pytest.mark.parametrize("damage", BANKS)
def test_a_damaged_bank_is_named(run, damage):
    np.savez(run.bank, **GOOD)
    np.testing.assert_array_equal(read_bank(run.bank).vectors, GOOD["vectors"])
    np.savez(run.bank, **BANKS[damage])
    with pytest.raises(UserError, match=r"bank\.npz' is damaged or .* \("):
        read_bank(run.bank)


def test_a_bank_cut_short_is_named(run):
    np.savez(run.bank, **GOOD)
    run.bank.write_bytes(run.bank.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"bank\.npz' is damaged or .* \("):
        read_bank(run.bank)
