"""An exported folder says of photographs what the detector says that it was made of."""

import csv
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from dtsnet_jax import Detector
from dtsnet_jax.errors import UserError
from dtsnet_jax.export import infer, model, verify
from dtsnet_jax.export.folder import finish_folder, write_folder
from dtsnet_jax.jobs.export import export
from dtsnet_jax.prediction.saved import choose_detector, save_detector
from dtsnet_jax.prediction.sources import find_images
from tests.export.detectors import draw_detector
from tests.helpers import launch, photograph
from tests.miniature import save

SIZE = (70, 90)  # of photographs
HALF = np.arange(SIZE[1]) < np.full(SIZE, 40)
VARIANTS = {
    "stretched": {},
    "rectangle": {"data__image_size": (32, 64), "data__antialias": False},
    "padded, with a region": {"region": HALF, "data__fit": "pad", "scoring__top_share": 0.05},
    "cropped, with a region": {"region": HALF, "data__fit": "crop"},
    "large tiles": {"data__tile_size": 40, "data__tile_overlap": 8, "scoring__top_share": 0.05},
    "small tiles, with a region": {"data__tile_size": 24, "region": HALF},
    "neighbours too": {"detector": "student+knn", "data__fit": "crop"},
}


def export_drawn(directory, **options):
    """A drawn detector's file and the folder of its export."""
    save_detector(directory / "detector.safetensors", draw_detector(**options))
    choice = choose_detector(directory / "detector.safetensors")
    export(choice, directory / "exported")
    return choice.file, directory / "exported"


@pytest.mark.parametrize("variant", VARIANTS)
def test_photographs_of_every_shape_get_the_same_prediction(tmp_path, variant):
    file, folder = export_drawn(tmp_path, **VARIANTS[variant])
    ours, exported = Detector.load(file), infer.Detector(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "detector.json", "infer.py", "model.onnx",
    ]  # fmt: skip
    about = json.loads((folder / "detector.json").read_text())
    assert about["verified"]["maps"]["relative"] < 1e-5
    assert ("scores" in about["model"]["outputs"]) == (
        variant in ("stretched", "rectangle", "neighbours too")
    )
    decisions = set()
    for seed in range(6):
        image = photograph(seed, SIZE)
        if seed % 2:  # with more contrast
            image = image.point(lambda value: 0 if value < 128 else 255)
        path = save(image, tmp_path / f"{seed}.png")
        expected, found = ours(path), exported(path)
        decisions.add(found.decision)
        assert found.map.shape == expected.map.shape and found.map.dtype == np.float32
        np.testing.assert_allclose(found.map, expected.map, atol=1e-5 * expected.map.max())
        assert found.score == pytest.approx(expected.score, rel=1e-5)
        assert found[2:6] == (
            expected.decision, expected.p_value, expected.unusual, expected.clipped,
        )  # fmt: skip
        assert len(found.regions) == len(expected.regions)
        for one, other in zip(found.regions, expected.regions, strict=True):
            assert one[:5] == (*other.box, other.area)
            assert one.peak == pytest.approx(other.peak, rel=1e-4)
        by_pixels = exported(np.asarray(image))
        np.testing.assert_array_equal(by_pixels.map, found.map)
    assert decisions <= {"OK", "review", "NG"}


KINDS = {
    "grey.png": lambda image: image.convert("L"),
    "palette.png": lambda image: image.quantize(16),
    "alpha.png": lambda image: image.convert("RGBA"),
    "cmyk.jpg": lambda image: image.convert("CMYK"),
    "bits.png": lambda image: image.convert("1"),
    "deep.png": lambda image: Image.fromarray(np.asarray(image.convert("L")) * np.uint16(16)),
    "deep.tif": lambda image: Image.fromarray(np.asarray(image.convert("L")) * np.uint16(32)),
    "gray.pgm": lambda image: image.convert("L"),
    "photo.webp": lambda image: image,
    "photo.bmp": lambda image: image,
    "photo.jp2": lambda image: image,
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A detector of files of 12 bits a value, and its export."""
    directory = tmp_path_factory.mktemp("plain")
    saved = draw_detector()
    saved.about["bit_depth"] = 12
    save_detector(directory / "detector.safetensors", saved)
    choice = choose_detector(directory / "detector.safetensors")
    export(choice, directory / "exported")
    return choice.file, directory / "exported"


def test_files_of_every_kind_are_read_alike(plain, tmp_path):
    ours, exported = Detector.load(plain[0]), infer.Detector(plain[1])
    paths = [save(make(photograph(3, SIZE)), tmp_path / name) for name, make in KINDS.items()]
    import cv2

    colours = np.asarray(photograph(3, SIZE)).astype(np.uint16) * 16
    for name in ("colours.png", "colours.tif", "colours.ppm"):
        cv2.imwrite(str(tmp_path / name), colours)
        paths.append(tmp_path / name)
    for orientation in (3, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        photograph(3, SIZE).save(tmp_path / f"turned{orientation}.jpg", exif=exif)
        paths.append(tmp_path / f"turned{orientation}.jpg")
    save(photograph(3, (4000, 4100)), tmp_path / "large.jpg")  # decoded at a part of its size
    for path in [*paths, tmp_path / "large.jpg"]:
        expected, found = ours(path), exported(path)
        np.testing.assert_allclose(
            found.map, expected.map, atol=1e-5 * expected.map.max(), err_msg=path.name
        )
        assert found.clipped == expected.clipped == (path.name == "deep.tif"), path.name
    Image.fromarray(np.zeros(SIZE, np.float32)).save(tmp_path / "float.tif")
    (tmp_path / "broken.png").write_bytes(b"no image")
    for name, message in (
        ("float.tif", "floating-point"),
        ("broken.png", "cannot be decoded"),
        ("missing.png", "No such file"),
    ):
        with pytest.raises(infer.InputError, match=message):
            exported(tmp_path / name)


def test_other_rates_give_the_same_limits(plain):
    file, folder = plain
    path = save(photograph(4, SIZE), folder.parent / "photograph.png")
    for rates in ((0.001, 0.05), (0.01, 0.0), (0.5, 0.9), (0.02, 0.02)):
        rates = dict(zip(("false_alarms", "review"), rates, strict=True))
        ours, exported = Detector.load(file, **rates), infer.Detector(folder, **rates)
        limits = (ours.limits.review.score, ours.limits.reject.score)
        assert exported.limits == pytest.approx(limits)
        assert exported(path).decision == ours(path).decision
    with pytest.raises(infer.InputError, match="false_alarms is 0"):
        infer.Detector(folder, false_alarms=0.0)


def test_an_export_that_was_tampered_with_is_refused(plain, tmp_path):
    for source in plain[1].iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    model = bytearray((tmp_path / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1  # somewhere in the weights
    (tmp_path / "model.onnx").write_bytes(model)
    with pytest.raises(infer.InputError, match="SHA-256"):
        infer.Detector(tmp_path)
    about = json.loads((tmp_path / "detector.json").read_text())
    for change, message in (
        ({"calibration": about["calibration"] | {"scores": [1.0]}}, "--false_alarms and --review"),
        ({"thresholds": {"false_alarms": 0.5, "review": 0.5}}, "was changed after the export"),
        ({"format": infer.FORMAT + 1}, rf"format {infer.FORMAT + 1}, .* reads format 1"),
        ({"sha256": None}, "was changed after the export"),
    ):
        (tmp_path / "detector.json").write_text(json.dumps(about | change))
        with pytest.raises(infer.InputError, match=message):
            infer.Detector(tmp_path)
    (tmp_path / "detector.json").write_text("[]")
    with pytest.raises(infer.InputError, match="format None"):
        infer.Detector(tmp_path)
    (tmp_path / "detector.json").unlink()
    with pytest.raises(infer.InputError, match="no exported detector"):
        infer.Detector(tmp_path)


def test_another_layout_of_the_description_is_the_same(plain, tmp_path):
    shutil.copytree(plain[1], tmp_path, dirs_exist_ok=True)
    about = json.loads((tmp_path / "detector.json").read_text())
    (tmp_path / "detector.json").write_text(json.dumps(about, sort_keys=True))
    assert infer.Detector(tmp_path).about == about


@pytest.mark.parametrize(
    ("fields", "teacher", "images"),
    [
        ({}, "of your own", "your own"),
        ({"encoder__weights": "imagenet", "data__name": "elpv"}, "BSD-3", "CC BY-NC-SA 4.0"),
        ({"data__name": "visa"}, "of your own", "CC BY 4.0"),
    ],
)
def test_licences_are_told(tmp_path, fields, teacher, images):
    saved = draw_detector(**fields)
    detector = Detector(saved, false_alarms=0.1, review=0.3)
    about = write_folder(tmp_path, saved, detector)
    assert teacher in about["licences"]["teacher"] and images in about["licences"]["images"]
    compared = {"images": 1, "source": "given", "maps": {"relative": 0}, "scores": {"relative": 0}}
    finish_folder(tmp_path, about, compared)
    text = (tmp_path / "README.md").read_text()
    assert all(licence in text for licence in about["licences"].values())


INTERRUPTIBLE = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests ignore it
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_interrupted_it_leaves_the_rows_of_what_was_scored(plain, tmp_path):
    paths = [save(photograph(seed, SIZE), tmp_path / f"{seed}.png") for seed in range(5)]
    os.mkfifo(tmp_path / "awaited.png")  # never opens, so that the rest has to wait
    paths.insert(3, tmp_path / "awaited.png")
    table = tmp_path / "table.csv"
    program = ("-c", INTERRUPTIBLE, plain[1] / "infer.py")
    process = launch(*paths, "--out", table, program=map(str, program))
    while process.poll() is None and (not table.exists() or table.read_text().count("\n") < 4):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted; 3 photographs were not looked at\n")
    assert printed == f"{table}: 3 photographs scored, 0 errors\n"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [str(path) for path in paths[:3]]
    assert all(float(row["score"]) > 0 and row["regions"] for row in rows)


def test_patterns_are_followed_and_what_names_nothing_is_refused(plain, tmp_path):
    paths = [save(photograph(0, SIZE), tmp_path / f"{number}.png") for number in (10, 9)]
    pattern = str(tmp_path / "*.png")
    assert infer.find_photographs([pattern]) == find_images(pattern) == paths[::-1]
    table, before = tmp_path / "table.csv", (plain[1] / "README.md").read_text()
    for source, out in ((tmp_path / "typo", table), (paths[0], plain[1] / "README.md")):
        process = launch(source, "--out", out, program=[str(plain[1] / "infer.py")])
        assert process.communicate()[1].startswith("error: ") and process.returncode == 2
    assert not table.exists() and (plain[1] / "README.md").read_text() == before


def test_the_models_own_scores_are_compared_too(tmp_path, monkeypatch):
    right = model.add_image_scores
    monkeypatch.setattr(
        model, "add_image_scores", lambda graph, *more: graph.add("Neg", right(graph, *more))
    )
    with pytest.raises(UserError, match="scores of two random pictures are"):
        export_drawn(tmp_path)


def test_products_are_of_whole_float32_while_they_are_compared(tmp_path, monkeypatch):
    precisions, compare = [], verify.compare

    def spy(*arguments):
        precisions.append(jax.config.jax_default_matmul_precision)
        return compare(*arguments)

    monkeypatch.setattr(verify, "compare", spy)
    export_drawn(tmp_path)
    assert precisions == ["highest"]  # on GPUs the default is TF32


def test_what_cannot_be_exported_is_named_and_nothing_is_left(plain, tmp_path, monkeypatch):
    choice, out = choose_detector(plain[0]), tmp_path / "out"
    with pytest.raises(UserError, match=r"--out is '.*exported'"):
        export(choice, plain[1])
    saved = draw_detector(precision="bfloat16")
    save_detector(tmp_path / "half.safetensors", saved)
    with pytest.raises(UserError, match=r"precision=float32"):
        export(choose_detector(tmp_path / "half.safetensors"), out)
    saved = draw_detector()
    saved.config.data.region = "masks"
    save_detector(tmp_path / "masks.safetensors", saved)
    with pytest.raises(UserError, match=r"data\.region is the directory 'masks'"):
        export(choose_detector(tmp_path / "masks.safetensors"), out)
    with pytest.raises(UserError, match="no image"):
        export(choice, out, images=str(tmp_path))
    with monkeypatch.context() as patch:
        (tmp_path / "here").mkdir()
        patch.chdir(tmp_path / "here")
        with pytest.raises(UserError, match="the current directory"):
            export(choice, Path())
    (tmp_path / "here").rmdir()
    with monkeypatch.context() as patch:
        patch.setattr("dtsnet_jax.export.folder.LARGEST", 1000)
        with pytest.raises(UserError, match=r"GiB, more than the 2 .*coreset_size"):
            export(choice, out)
    with monkeypatch.context() as patch:
        patch.setattr(verify, "TOLERANCE", 0.0)  # which float32 cannot keep
        with pytest.raises(UserError, match="maps differ from those of JAX by up to"):
            export(choice, out)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)
        for name in [name for name in sys.modules if name.startswith("dtsnet_jax.export")]:
            patch.delitem(sys.modules, name)
        with pytest.raises(UserError, match=r"requirements-export\.txt"):
            export(choice, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "half.safetensors", "masks.safetensors",
    ]  # fmt: skip
