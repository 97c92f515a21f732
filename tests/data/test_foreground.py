import shutil
import sys
import time
from dataclasses import replace
from unicodedata import normalize

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import data.foreground
from data.catalog import Catalog, Sample
from data.foreground import foreground_files, threshold_foreground
from data.mask_arrays import decode_foregrounds
from data.options import PixelOptions
from data.readers import read_catalogs
from dtsnet_jax.errors import UserError
from tests import miniature
from tests.data.processes import at_once
from tests.helpers import NOTHING_HELD_BACK, square
from tests.miniature import save

SIZE = 64
OPTIONS = PixelOptions(bit_depth=8)


@pytest.fixture
def bottle(miniatures, tfds_data) -> Catalog:
    return read_catalogs("mvtec_ad", str(miniatures / "mvtec_ad"), "bottle", **NOTHING_HELD_BACK)[0]


@pytest.fixture
def darkness(tmp_path):
    """An ONNX model with IS-Net's inputs and outputs that takes dark pixels for foreground."""
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 1024, 1024])
    mask = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1024, 1024])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["brightness"], keepdims=1),
        helper.make_node("Neg", ["brightness"], ["output"]),
    ]
    graph = helper.make_graph(nodes, "darkness", [image], [mask], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = tmp_path / "models" / "darkness.onnx"
    path.parent.mkdir()
    onnx.save(model, path)
    return path


def load(catalog, method, size, model=""):
    """Foregrounds as training has them."""
    files = foreground_files(catalog, method, OPTIONS, model=model)
    parts = [([sample.path for sample in catalog.train], files)]
    return decode_foregrounds(parts, square(size), soft=False)


def dark_part(catalog):
    """The true foreground of the miniature's parts, which are darker than their background."""
    images = [Image.open(s.path).convert("L").resize((SIZE, SIZE)) for s in catalog.train]
    return np.stack([np.asarray(image) < 150 for image in images])


@pytest.mark.parametrize("inverted", [False, True])
def test_threshold_finds_dark_and_bright_parts(inverted):
    gray = miniature.part(3)
    expected = gray < 150
    image = Image.fromarray(255 - gray if inverted else gray).convert("RGB")
    assert (threshold_foreground(image) == expected).mean() > 0.97


def test_threshold_fills_holes_and_takes_even_images_whole():
    gray = np.full((60, 60), 200, np.uint8)
    gray[10:50, 10:50] = 40
    gray[25:35, 25:35] = 200
    found = threshold_foreground(Image.fromarray(gray).convert("RGB"))
    assert found[30, 30]
    assert not found[3, 3]
    assert threshold_foreground(Image.new("RGB", (9, 9), "gray")).all()


def test_isnet_runs_a_model_from_the_disk(bottle, darkness):
    masks = load(bottle, "isnet", SIZE, model=str(darkness))
    assert masks.shape == (miniature.TRAIN, SIZE, SIZE)
    assert (masks == dark_part(bottle)).mean() > 0.97


def test_textures_and_none_have_no_background(miniatures, bottle):
    root = str(miniatures / "mvtec_ad")
    (carpet,) = read_catalogs("mvtec_ad", root, "carpet", **NOTHING_HELD_BACK)
    assert foreground_files(carpet, "isnet", OPTIONS, model="") is None
    assert foreground_files(bottle, "none", OPTIONS, model="") is None
    assert load(bottle, "none", SIZE).all()


def test_masks_are_made_once_and_only_missing_ones_again(bottle, tfds_data):
    files = foreground_files(bottle, "threshold", OPTIONS, model="")
    assert all(path.is_relative_to(tfds_data) for path in files)
    before = [path.stat().st_mtime_ns for path in files]
    files[2].unlink()
    assert foreground_files(bottle, "threshold", OPTIONS, model="") == files
    after = [path.stat().st_mtime_ns for path in files]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False] + [True] * 3


def test_processes_at_once_make_each_mask_once(bottle, tmp_path):
    made = tmp_path / "made"
    results = at_once(noted_foreground_files, bottle, made)
    stored = list(results[0][0].parent.iterdir())
    assert all(files == results[0] for files in results)
    assert made.read_text() == "+" * miniature.TRAIN
    assert sorted(path for path in stored if path.name != ".locks") == sorted(results[0])
    assert load(bottle, "threshold", SIZE).mean() == pytest.approx(
        dark_part(bottle).mean(), abs=0.02
    )


def noted_foreground_files(catalog, made):
    """Notes each mask in a file, and takes so long that processes meet."""

    def threshold(image):
        with made.open("a") as file:
            file.write("+")
        time.sleep(0.1)
        return threshold_foreground(image)

    data.foreground.threshold_foreground = threshold
    return foreground_files(catalog, "threshold", OPTIONS, model="")


def test_masks_are_found_after_the_images_have_moved(bottle, miniatures, tmp_path):
    shutil.copytree(miniatures / "mvtec_ad", tmp_path / "moved")
    (moved,) = read_catalogs("mvtec_ad", str(tmp_path / "moved"), "bottle", **NOTHING_HELD_BACK)
    files = foreground_files(bottle, "threshold", OPTIONS, model="")
    assert foreground_files(moved, "threshold", OPTIONS, model="") == files


def test_a_users_masks(bottle, tmp_path):
    directory = tmp_path / "masks" / "bottle"
    directory.mkdir(parents=True)
    for index, sample in enumerate(bottle.train):
        mask = np.zeros((96, 96), np.uint8)
        mask[: 10 + index] = 1
        Image.fromarray(mask).save(directory / f"{sample.path.stem}.png")
    masks = load(bottle, str(tmp_path / "masks"), 96)
    assert [mask.sum() for mask in masks] == [96 * (10 + i) for i in range(miniature.TRAIN)]

    Image.new("L", (5, 5)).save(directory / "003.png")
    with pytest.raises(UserError, match=r"003\.png' is 5×5 pixels"):
        load(bottle, str(tmp_path / "masks"), 96)
    (directory / "004.png").unlink()
    with pytest.raises(UserError, match=r"004\.png' has no foreground mask"):
        load(bottle, str(tmp_path / "masks"), 96)


def test_large_jpeg_images_have_foregrounds_of_their_own_size(tmp_path, tfds_data):
    """These are decoded smaller where they are to shrink, which foregrounds are not to."""
    picture = np.full((4100, 4000), 230, np.uint8)
    picture[1000:2000, 1000:3000] = 20
    paths = [tmp_path / f"{index}.jpg" for index in range(2)]
    for path in paths:
        Image.fromarray(picture).save(path)
    catalog = Catalog("large", tuple(map(Sample, paths)), ())
    foreground, _ = load(catalog, "threshold", 64)
    assert foreground.mean() == pytest.approx(1000 * 2000 / (4100 * 4000), abs=0.01)


def test_images_of_one_name_cannot_share_a_users_mask(bottle, tmp_path):
    twice = replace(bottle, train=(*bottle.train, Sample(tmp_path / "other" / "000.png")))
    for sample in bottle.train:
        save(Image.new("L", (96, 96)), tmp_path / f"{sample.path.stem}.png")
    with pytest.raises(UserError, match=r"000\.png' could belong to .* and to"):
        foreground_files(twice, str(tmp_path), OPTIONS, model="")


def test_what_is_missing_is_named(bottle, monkeypatch):
    with pytest.raises(UserError, match=r"neither a directory of masks nor one of: none, isnet"):
        foreground_files(bottle, "isnett", OPTIONS, model="")
    with pytest.raises(UserError, match=r"foreground_model is '/nowhere\.onnx'"):
        foreground_files(bottle, "isnet", OPTIONS, model="/nowhere.onnx")
    monkeypatch.setitem(sys.modules, "rembg", None)
    with pytest.raises(UserError, match=r"requirements-foreground\.txt"):
        foreground_files(bottle, "isnet", OPTIONS, model="")


def test_a_model_that_is_none_is_refused(bottle, tmp_path):
    path = tmp_path / "isnet.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(UserError, match="IS-Net could not be loaded"):
        foreground_files(bottle, "isnet", OPTIONS, model=str(path))


def test_a_users_masks_may_be_called_masks_in_any_form_of_unicode(bottle, tmp_path):
    names = ["Größe", "Größe_mask"]
    images = [Sample(tmp_path / f"{normalize('NFC', name)}.png") for name in names]
    masks = [
        save(Image.new("L", (96, 96)), tmp_path / "m" / f"{normalize('NFD', name)}.png")
        for name in names
    ]
    catalog = replace(bottle, train=tuple(images))
    assert foreground_files(catalog, str(tmp_path / "m"), OPTIONS, model="") == masks
    masks[0].unlink()
    with pytest.raises(UserError, match=r"e\.png' has no foreground mask"):
        foreground_files(catalog, str(tmp_path / "m"), OPTIONS, model="")
