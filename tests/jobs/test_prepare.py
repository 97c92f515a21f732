"""Preparation, preview and training on the miniatures, and what becomes of bad input."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs import btad, mvtec, visa
from data import memory
from dtsnet_jax.errors import UserError
from dtsnet_jax.jobs.prepare import prepare
from dtsnet_jax.jobs.preview import preview
from dtsnet_jax.jobs.train import train
from dtsnet_jax.report.table import METRICS
from tests import miniature
from tests.helpers import ROOT, SMALL

CONFIGS = {"mvtec_ad": mvtec, "visa": visa, "btad": btad}
TWO = {"mvtec_ad": "bottle,carpet", "visa": "candle,pcb1", "btad": "01,03"}


def small_config(miniatures, name, **changes):
    config = CONFIGS[name].get_config()
    fields = SMALL | {
        "data.root": str(miniatures / name),
        "data.category": TWO[name],
        "data.textures": str(miniatures / "textures"),
        "data.foreground": "none" if name == "visa" else "threshold",
        "train.epochs": 2,
    }
    config.update_from_flattened_dict(fields | changes)
    return config


@pytest.mark.parametrize("name", CONFIGS)
def test_two_categories_are_trained_and_measured(name, miniatures, tfds_data, tmp_path, capsys):
    (report,) = train(small_config(miniatures, name), tmp_path / "run").values()
    assert list(report["categories"]) == TWO[name].split(",")
    for result in report["categories"].values():
        assert result["seeds"][0]["step"] == 3  # 2 epochs of 6 images in batches of 4
        assert set(result["metrics"]) == set(METRICS)
    printed = capsys.readouterr().out
    assert "mean" in printed
    assert "memory: 6 training images 36.9 kB" in printed


def test_prepare_says_what_it_made(miniatures, tfds_data, capsys):
    table = prepare(small_config(miniatures, "mvtec_ad")).splitlines()
    assert table[0].split() == [
        "category", "train", "test", "masks", "foregrounds", "covered", "seconds", "memory",
    ]  # fmt: skip
    assert table[2].split()[:2] == ["textures", "9"]
    bottle, carpet = table[3].split(), table[4].split()
    assert bottle[:5] == ["bottle", "6", "5", "3", "6"]
    assert 30 < float(bottle[5].rstrip("%")) < 50  # a disc of 0.35 of the width
    assert carpet[:5] == ["carpet", "6", "5", "3", "0"]
    stored = list((tfds_data / "foregrounds" / "threshold").glob("*.png"))
    assert len(stored) == miniature.TRAIN


def test_there_is_no_preview_where_nothing_is_synthesised(miniatures, tfds_data, tmp_path):
    config = small_config(miniatures, "mvtec_ad", detector="knn")
    with pytest.raises(UserError, match="detector='knn' nothing is synthesised"):
        preview(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_preview_shows_each_category(miniatures, tfds_data, tmp_path):
    written = preview(small_config(miniatures, "mvtec_ad"), tmp_path)
    assert [path.parent.name for path in written] == ["bottle", "carpet"]
    sheet = np.asarray(Image.open(written[0]).convert("L")).astype(int)
    assert sheet.shape == (1226, 1206)  # a title and eight rows, eight columns
    foreground, carpet = sheet[30:160, 160:290], np.asarray(Image.open(written[1]).convert("L"))
    assert {0, 255} <= set(np.unique(foreground))
    assert (carpet[30:160, 160:290] == 255).all()  # a texture has no background


def test_more_than_fits_is_refused_before_anything_is_decoded(miniatures, tfds_data, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    with pytest.raises(UserError, match=r"need 55\.3 kB .*1\.0 kB are free"):
        prepare(small_config(miniatures, "mvtec_ad"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


BAD_INPUT = {
    "a truncated image": ("bottle/train/good/003.png", truncate, r"003\.png' cannot be decoded"),
    "an empty file": (
        "bottle/train/good/003.png",
        lambda path: path.write_bytes(b""),
        r"003\.png' cannot be decoded \(0 bytes",
    ),
    "a missing mask": (
        "bottle/ground_truth/hole/001_mask.png",
        Path.unlink,
        r"test/hole/001\.png' has no mask",
    ),
    "a mask of another size": (
        "bottle/ground_truth/hole/001_mask.png",
        lambda path: Image.new("L", (5, 7)).save(path),
        r"001_mask\.png' is 5×7 pixels",
    ),
    "a folder without training images": (
        "bottle/train/good",
        lambda path: [file.unlink() for file in path.iterdir()],
        "has 0 training images",
    ),
}


@pytest.mark.parametrize("mistake", BAD_INPUT)
def test_bad_input_is_named_and_leaves_nothing_behind(mistake, miniatures, tfds_data, tmp_path):
    file, spoil, message = BAD_INPUT[mistake]
    shutil.copytree(miniatures / "mvtec_ad", tmp_path / "mvtec_ad")
    spoil(tmp_path / "mvtec_ad" / file)
    config = small_config(miniatures, "mvtec_ad", **{"data.root": str(tmp_path / "mvtec_ad")})
    with pytest.raises(UserError, match=message):
        train(config, tmp_path / "run")
    with pytest.raises(UserError, match=message):
        prepare(config)
    assert not (tmp_path / "run").exists()
    assert not tfds_data.exists()


def test_an_empty_texture_folder_is_refused(miniatures, tfds_data, tmp_path):
    (tmp_path / "empty").mkdir()
    config = small_config(miniatures, "mvtec_ad", **{"data.textures": str(tmp_path / "empty")})
    with pytest.raises(UserError, match=r"data\.textures is '.*empty', where no image lies"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_reported_in_one_sentence(miniatures, tmp_path):
    for index in range(2):
        noise = np.random.default_rng(index).integers(0, 256, (300, 300), np.uint8)
        miniature.save(Image.fromarray(noise), tmp_path / "noise" / "normal" / f"{index}.png")
    arguments = [
        "--config=configs/folder.py", "--job=prepare", "--config.data.foreground=threshold",
        f"--config.data.root={tmp_path / 'noise'}",
        f"--config.data.textures={miniatures / 'textures'}",
    ]  # fmt: skip
    # No file may grow beyond 1 kB, and these masks need more: as if the disk were full.
    command = ["bash", "-c", 'ulimit -f 1; exec "$@"', "-", sys.executable, "launch.py", *arguments]
    process = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"TFDS_DATA_DIR": str(tmp_path / "tfds")},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2, process.stderr
    assert "could not be written (File too large); make room" in process.stderr
    assert "Traceback" not in process.stderr
    assert list((tmp_path / "tfds" / "foregrounds" / "threshold").glob("*.png")) == []
    assert list((tmp_path / "tfds").rglob("*.partial")) == []
