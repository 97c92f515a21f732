"""Whole jobs on real weights: trained, killed, continued, evaluated, refused."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from configs import demo, folder
from dtsnet_jax.config import check_config
from dtsnet_jax.detectors.student import StudentDetector
from dtsnet_jax.errors import UserError
from dtsnet_jax.jobs.evaluate import evaluate
from dtsnet_jax.jobs.train import train
from dtsnet_jax.report.table import METRICS
from dtsnet_jax.results import seed_directory
from dtsnet_jax.training.checkpoints import Checkpoints

MVTEC_TRAIN_IMAGES = {
    "carpet": 280, "grid": 264, "leather": 245, "tile": 230, "wood": 247, "bottle": 209,
    "cable": 224, "capsule": 219, "hazelnut": 391, "metal_nut": 220, "pill": 267, "screw": 320,
    "toothbrush": 60, "transistor": 213, "zipper": 240,
}  # fmt: skip
ROOT = Path(__file__).parent.parent
SEED = 111
SMALL = {
    "encoder.name": "efficientnet_lite0",
    "data.image_size": 64,
    "train.batch_size": 4,
    "train.epochs": 4,
    "train.log_every": 2,
    "train.checkpoint_every": 3,
    "scoring.batch_size": 4,
}


def small_config(root):
    config = folder.get_config()
    config.update_from_flattened_dict(SMALL | {"data.root": str(root)})
    return config


def launch(*arguments, **options):
    command = [sys.executable, "launch.py", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def launch_small(root, workdir):
    fields = [f"--config.{name}={value}" for name, value in SMALL.items()]
    return launch(
        "--config", "configs/folder.py", "--workdir", workdir, f"--config.data.root={root}", *fields
    )


def final_weights(workdir, category="parts"):
    detector = StudentDetector(small_config(""))
    checkpoints = Checkpoints(seed_directory(workdir, category, SEED) / "checkpoints", keep=2)
    state = checkpoints.restore(detector.programs.initial_state(SEED))
    checkpoints.close()
    return jax.tree.map(np.asarray, state)


def test_train_and_evaluate_a_folder(own_images, tmp_path):
    config = small_config(own_images)
    report = train(config, tmp_path / "run")
    result = report["categories"]["parts"]["seeds"][0]
    assert result["step"] == 8  # 4 epochs of 8 images in batches of 4
    assert set(result["metrics"]) == set(METRICS)
    assert set(result["thresholds"]) == {"image", "pixel"}
    assert all(0 <= value <= 1 for value in result["metrics"].values())
    assert len(result["images"]) == result["test_images"] == 5
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == report

    directory = seed_directory(tmp_path / "run", "parts", SEED)
    pictures = sorted(path.name for path in (directory / "heatmaps").iterdir())
    assert pictures == [
        "good_008.png", "good_009.png", "scratch_000.png", "scratch_001.png", "scratch_002.png"
    ]  # fmt: skip
    assert Image.open(directory / "heatmaps" / pictures[0]).width == 3 * 64
    records = [json.loads(line) for line in (directory / "metrics.jsonl").open()]
    assert [record["step"] for record in records] == [2, 4, 6, 8]
    assert records[-1]["loss"] < records[0]["loss"]
    assert list(directory.glob("events.out.tfevents*"))

    again = evaluate(config, tmp_path / "run")
    assert again["categories"]["parts"]["seeds"][0]["images"] == result["images"]


def test_without_masks_only_images_are_measured(own_images, tmp_path, capsys):
    (own_images / "masks").rename(tmp_path / "unused")
    config = small_config(own_images)
    config.train.epochs = 1
    report = train(config, tmp_path / "run")
    metrics = report["categories"]["parts"]["metrics"]
    assert set(metrics) == {"image_auroc", "image_average_precision", "image_f1_max"}
    assert "no masks" in capsys.readouterr().out


def test_a_killed_run_continues_to_the_same_weights(own_images, tmp_path):
    whole = launch_small(own_images, tmp_path / "whole")
    out, err = whole.communicate()
    assert whole.returncode == 0, err
    assert "I-AUROC" in out

    killed = launch_small(own_images, tmp_path / "killed")
    checkpoints = seed_directory(tmp_path / "killed", "parts", SEED) / "checkpoints"
    while not (checkpoints / "3").is_dir() and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "results.json").exists()

    continued = launch_small(own_images, tmp_path / "killed")
    _, err = continued.communicate()
    assert continued.returncode == 0, err
    ours, expected = final_weights(tmp_path / "killed"), final_weights(tmp_path / "whole")
    jax.tree.map(np.testing.assert_array_equal, ours, expected)
    assert int(ours.step) == 8
    records = (
        (seed_directory(tmp_path / "killed", "parts", SEED) / "metrics.jsonl")
        .read_text()
        .splitlines()
    )
    assert [json.loads(line)["step"] for line in records] == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config", "configs/demo.py", "--config.train.epoch=3"], "epochs"),
        (["--config", "configs/demo.py", "--config.encoder.name=resnet19"], "resnet18"),
        (["--config", "configs/demo.py", "--config.data.category=momo"], "mono"),
        (["--config", "configs/demo.py:offical"], "official"),
        (["--config", "configs/demo.py", "--config.rows=('papr',)"], "paper"),
        (["--config", "configs/demo.py", "--config.seeds=(1,1)"], "seeds"),
        (["--config", "configs/demo.py", "--config.protocol=best_on_test"], "evaluate_every"),
        (["--config", "configs/nowhere.py"], "nowhere.py"),
        (["--config", "configs/demo.py", "--config.train.epochs=many"], "many"),
        (["--config", "configs/folder.py"], "data.root"),
        (["--job", "evaluate", "--workdir", "/nowhere"], "/nowhere"),
        ([], "--config"),
    ],
)
def test_mistakes_get_one_sentence_and_no_traceback(arguments, expected, tmp_path):
    process = launch("--workdir", tmp_path / "run", *arguments)
    _, err = process.communicate()
    assert process.returncode == 2, err
    assert "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, err
    assert expected in errors[0]
    assert not (tmp_path / "run").exists()


def test_a_run_with_other_settings_is_not_overwritten(own_images, tmp_path):
    config = small_config(own_images)
    config.train.epochs = 1
    train(config, tmp_path / "run")
    config.train.batch_size = 8
    with pytest.raises(UserError, match=r"train\.batch_size=4.*--workdir"):
        train(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("data.image_size", 250, "set it to 224 or 256"),
        ("train.batch_size", 15, "set it to 14 or 16"),
        ("precision", "float16", "bfloat16"),
        ("scoring.levels", (1, 4), "(1, 2, 3)"),
        ("synthesis.opacity", (0.5, 1.5), "[0, 1]"),
        ("student.temperature", 0.0, "more than 0"),
    ],
)
def test_values_that_cannot_work_are_refused(field, value, expected):
    config = demo.get_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError) as error:
        check_config(config, devices=1)
    assert field in str(error.value)
    assert expected in str(error.value)


def test_every_configuration_and_variant_is_valid():
    from configs import btad, mvtec, variants, visa
    from data.layouts.btad import CATEGORIES as BTAD
    from data.layouts.mvtec_ad import CATEGORIES as MVTEC
    from data.layouts.visa import CATEGORIES as VISA

    for module in (btad, mvtec, visa, folder, demo):
        for variant in variants.VARIANTS:
            check_config(module.get_config(variant), devices=1)
        for table in variants.TABLES:
            for row in variants.rows_of(module.get_config(table)).values():
                check_config(row, devices=1)
    for module, categories in ((btad, BTAD), (mvtec, MVTEC), (visa, VISA)):
        assert set(module.get_config().epochs_by_category) == set(categories)
    assert sum(mvtec.EPOCHS[name] * MVTEC_TRAIN_IMAGES[name] for name in MVTEC) == 780_060
