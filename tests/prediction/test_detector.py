"""A saved detector answers as the trained one did, however photographs come."""

import json
from concurrent.futures import ThreadPoolExecutor
from shutil import copytree

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from dtsnet_jax import Detector
from dtsnet_jax.errors import UserError
from dtsnet_jax.jobs.evaluate import evaluate
from dtsnet_jax.jobs.train import train
from dtsnet_jax.prediction.saved import find_detectors, read_detector
from tests.helpers import SEED, nothing_implicit, only_result, photograph, seed_run, small_config
from tests.miniature import save

SHORT = {"train__epochs": 1}
TILES = {"data__tile_size": 32, "data__tile_overlap": 8}
KINDS = {
    "student": {},
    "knn": {"detector": "knn", "knn__coreset_size": 40},
    "both": {"detector": "student+knn", "knn__coreset_size": 40},
    "calibrated": {"scoring__calibrate": True, "scoring__levels": (2, 3)},
    "weighed by length": {"scoring__weigh_by_length": True, "scoring__calibrate": True},
    "share": {"scoring__top_share": 0.05},
    "padded": {"data__fit": "pad"},
    "cropped": {"data__fit": "crop"},
    "tiles": TILES,
    "region": {"data__region": "half"},
    "padded region": {"data__fit": "pad", "data__region": "half"},
    "region of tiles": TILES | {"data__region": "half"},
    "regions": {"data__region": "halves"},
}


def half(path):
    marked = np.zeros((40, 48), np.uint8)
    marked[:, :24] = 1
    return save(Image.fromarray(marked), path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_detector_scores_test_images_as_they_were_measured(own_images, tmp_path, kind):
    fields = dict(KINDS[kind])
    if fields.get("data__region") == "half":
        fields["data__region"] = str(half(tmp_path / "half.png"))
    if fields.get("data__region") == "halves":
        for path in own_images.rglob("*.png"):
            if "masks" not in path.parts:
                half(tmp_path / "halves" / path.relative_to(own_images))
        fields["data__region"] = str(tmp_path / "halves")
    result = only_result(train(small_config(own_images, **SHORT, **fields), tmp_path / "run"))
    detector = Detector.load(tmp_path / "run")
    with nothing_implicit():
        predictions = detector([one["file"] for one in result["images"]])
    scores = [prediction.score for prediction in predictions]
    np.testing.assert_allclose(scores, [one["score"] for one in result["images"]], rtol=1e-4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained run, the directory of its photographs, and what was measured."""
    root = tmp_path_factory.mktemp("trained")
    for index in range(20):
        save(photograph(index), root / "parts" / "normal" / f"{index:03}.png")
    save(photograph(100), root / "parts" / "defective" / "000.png")
    train(small_config(root / "parts", **SHORT | {"data__calibration": 0.7}), root / "run")
    return root


@pytest.fixture(scope="module")
def detector(trained):
    """What was trained."""
    return Detector.load(trained / "run")


def test_photographs_come_as_paths_images_or_arrays_one_by_one_or_in_lists(trained, detector):
    paths = sorted((trained / "parts" / "normal").iterdir())
    with Image.open(paths[0]) as image:
        image.load()
    array = np.asarray(image)
    several = detector(paths)
    assert [one.file for one in several] == [str(path) for path in paths]
    alone = detector(str(paths[0]))
    for one in (alone, detector(image), detector(array), detector([array])[0]):
        assert one.score == pytest.approx(several[0].score, rel=1e-5)
        np.testing.assert_allclose(one.map, several[0].map, rtol=1e-4, atol=1e-5)
    gray, deep = np.asarray(image.convert("L")), np.asarray(image.convert("L"), np.uint16)
    assert detector(gray).score == detector(image.convert("L")).score
    assert detector(np.dstack([array, gray])).score == detector(array).score
    assert detector(deep).score == detector(gray).score  # the run's files have 8 bits
    assert alone.map.shape == (32, 32) and alone.map.dtype == np.float32
    assert alone.score == pytest.approx(alone.map.max())
    assert detector([]) == []


def test_threads_share_a_detector(trained, detector):
    paths = sorted((trained / "parts" / "normal").iterdir())
    expected = [one.score for one in detector(paths)]
    with ThreadPoolExecutor(8) as pool:
        scores = [one.score for one in pool.map(detector, paths * 3)]
    np.testing.assert_allclose(scores, expected * 3, rtol=1e-5)


def test_decisions_and_regions_follow_the_limits(trained, detector):
    paths = sorted((trained / "parts" / "normal").iterdir())
    strict = Detector.load(trained / "run", false_alarms=0.5, review=0.9)
    predictions = strict(paths)
    assert {one.decision for one in predictions} == {"OK", "review", "NG"}
    kept = strict.calibration.scores
    for one in predictions:
        assert one.p_value == (1 + (kept >= one.score).sum()) / (len(kept) + 1)
        assert (one.p_value <= 0.5) == (one.decision == "NG")
        assert (one.p_value <= 0.9) == (one.decision != "OK")
        assert bool(one.regions) == (one.decision != "OK")
        for region in one.regions:
            left, upper, right, lower = region.box
            assert 0 <= left < right <= 48 and 0 <= upper < lower <= 40
            assert 0 < region.area <= 48 * 40 and region.peak > strict.limits.review.score
    assert detector.limits.reject.extrapolated  # 12 calibration images, 99 are needed
    assert detector.limits.reject.score > strict.limits.reject.score


def test_pictures_show_photograph_and_heat_at_the_photographs_aspect(detector):
    (prediction,) = detector([photograph(0, (1200, 2400))])
    picture = prediction.picture()
    assert picture.size == (2 * 1024 + 9, 512 + 6)
    png = prediction._repr_png_()
    assert png.startswith(b"\x89PNG")


def test_without_calibration_images_there_are_scores_and_no_decision(trained_run):
    prediction = Detector.load(trained_run)(photograph(0))
    assert prediction.score > 0 and prediction.regions == []
    assert (prediction.p_value, prediction.decision, prediction.unusual) == (None, None, None)
    assert prediction.picture().width > 0


def test_rates_are_those_of_the_run_as_it_is_configured_now(trained):
    config = small_config(trained / "parts", **SHORT | {"data__calibration": 0.7})
    config.threshold.false_alarms, config.threshold.review = 0.2, 0.4
    train(config, trained / "run")
    detector = Detector.load(trained / "run")
    assert (detector.false_alarms, detector.review) == (0.2, 0.4)
    detector = Detector.load(trained / "run", false_alarms=0.5)
    assert (detector.false_alarms, detector.review) == (0.5, 0.5)


def test_values_beyond_the_bit_depth_are_told(detector):
    assert not detector(np.full((40, 48), 255, np.uint16)).clipped
    assert detector(np.full((40, 48), 256, np.uint16)).clipped


def test_deep_files_are_given_as_paths(detector, tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((40, 48), 200, np.uint16)).save(path)
    assert detector(path).score > 0
    with Image.open(path) as image, pytest.raises(UserError, match="give the file's path"):
        detector(image)


def test_what_cannot_be_scored_is_named(trained, detector, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    wrong = [
        (broken, "broken.png"),
        (tmp_path / "missing.png", "does not exist"),
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\) of uint8"),
        (np.zeros((4, 4), np.float32), "float32"),
        (np.zeros((0, 4), np.uint8), r"\(0, 4\)"),
        (Image.new("F", (4, 4)), "float32"),
    ]
    for photographs, message in wrong:
        with pytest.raises(UserError, match=message):
            detector(photographs)
    with pytest.raises(UserError, match="holds no detector"):
        Detector.load(tmp_path)
    with pytest.raises(UserError, match=r"category is 'cup'.*parts"):
        Detector.load(trained / "run", category="cup")
    with pytest.raises(UserError, match=r"seed is '5'.*111"):
        Detector.load(trained / "run", seed=5)
    with pytest.raises(UserError, match=r"threshold\.false_alarms"):
        Detector.load(trained / "run", false_alarms=0.0)
    damaged = tmp_path / "detector.safetensors"
    damaged.write_bytes(seed_run(trained / "run").detector.read_bytes()[:-10])
    with pytest.raises(UserError, match="is no detector"):
        Detector.load(damaged)


def test_weights_that_overflow_are_told(trained, tmp_path):
    source, path = seed_run(trained / "run").detector, tmp_path / "d.safetensors"
    with safe_open(source, "numpy") as file:
        about = file.metadata()
    arrays = load_file(source)
    save_file(arrays | {KERNEL: np.full_like(arrays[KERNEL], 1e38)}, path, about)
    with pytest.raises(UserError, match="score nan, expected a finite one"):
        Detector.load(path)(photograph(0))


KERNEL, STATISTIC = "parts/teacher/conv1/kernel", "parts/teacher/bn1/var"
DAMAGES = {
    "a header that is no object": (["header"], [1], "is list, expected an object"),
    "no settings": (["header", "config"], 3, "is 3, expected an object"),
    "a number as category": (["header", "about", "category"], 7, "is 7, expected a text"),
    "a text as seed": (["header", "about", "seed"], "1", "expected a whole number"),
    "a rate that is no number": (
        ["header", "config", "threshold", "review"],
        float("nan"),
        "expected a number",
    ),
    "an odd bit depth": (["header", "about", "bit_depth"], 9, "bit depth is 9"),
    "an unknown field": (["header", "config", "data", "odd"], 1, "another version"),
    "a field of another type": (["header", "config", "data", "fit"], [], "another version"),
    "a value that cannot be": (["header", "config", "data", "fit"], "fold", "data.fit is 'fold'"),
    "a list in a list": (["header", "config", "scoring", "levels"], [[1]], "scoring.levels"),
    "an image size of text": (["header", "config", "data", "image_size"], "x", "data.image_size"),
    "another network": (
        ["header", "config", "encoder", "name"],
        "tiny_wide",
        "lacks the array",
    ),
    "another method": (["header", "config", "detector"], "student+knn", "lacks the array"),
    "a weight that is missing": (["arrays", KERNEL], None, f"lacks the array '{KERNEL}'"),
    "a weight too many": (["arrays", "parts/x"], np.zeros(1, np.float32), "has the array"),
    "an array of nothing known": (["arrays", "x"], np.zeros(1, np.float32), "'x' is unknown"),
    "a weight of another shape": (["arrays", KERNEL], np.zeros((7, 7), np.float32), "expected"),
    "whole numbers as weights": (["arrays", KERNEL], np.zeros((7, 7, 3, 64), np.int64), "int64"),
    "a group in place of a weight": (
        ["arrays", f"{KERNEL}/x"],
        np.zeros(1, np.float32),
        "is an array, and a group",
    ),
    "weights that are not finite": (["arrays", STATISTIC], np.full(64, np.inf, "f4"), "not finite"),
    "a negative variance": (["arrays", STATISTIC], np.full(64, -1, "f4"), "expected more than 0"),
    "no scores": (["arrays", "calibration/scores"], None, "calibration/scores"),
    "scores of other images": (["arrays", "calibration/scores"], np.zeros(5), "calibration/"),
    "scores in a square": (["arrays", "calibration/scores"], np.zeros((5, 5)), "calibration/"),
    "scores of text": (["arrays", "calibration/scores"], np.zeros(5, np.uint8), "uint8"),
    "an unknown calibration": (["arrays", "calibration/x"], np.zeros(5), "'?x'?"),
    "features of another network": (
        ["arrays", "calibration"],
        {"features": np.zeros((12, 5), "f4"), "usual/mean": np.zeros(5),
         "usual/precision": np.zeros((5, 5), "f4")},
        "have 5 channels, expected 56",
    ),
    "a region of numbers": (["arrays", "region"], np.zeros((4, 4), np.float32), "region"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_detector_that_is_no_detector_is_refused_in_a_sentence(trained, tmp_path, damage):
    """Not only when it scores."""
    source, path = seed_run(trained / "run").detector, tmp_path / "d.safetensors"
    with safe_open(source, "numpy") as file:
        header = json.loads(file.metadata()["detector"])
    content = {"header": header, "arrays": load_file(source)}
    (*parents, name), value, message = DAMAGES[damage]
    inner = content
    for parent in parents:
        inner = inner[parent]
    if isinstance(value, dict):
        inner |= {f"{name}/{key}": array for key, array in value.items()}
    elif value is None:
        del inner[name]
    else:
        inner[name] = value
    save_file(content["arrays"], path, {"detector": json.dumps(content["header"])})
    with pytest.raises(UserError, match=message) as error:
        Detector.load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[]", "3", '{"seeds": 3}', '{"threshold": []}', "[" * 100_000])
def test_damaged_settings_of_a_run_are_named(trained, tmp_path, text):
    run = tmp_path / "run"
    copytree(trained / "run", run)
    (run / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json' is damaged"):
        Detector.load(run)


def test_the_file_is_enough_by_itself_and_its_fingerprint_follows_its_content(
    trained, detector, tmp_path
):
    (seeds,) = find_detectors(trained / "run").values()
    (file,) = seeds.values()
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(file.read_bytes())
    path = trained / "parts" / "normal" / "000.png"
    assert Detector.load(copy)(path).score == detector(path).score
    before = read_detector(file).about
    assert before["seed"] == SEED and before["finished"]
    config = small_config(trained / "parts", **SHORT | {"data__calibration": 0.7})
    evaluate(config, trained / "run")
    assert read_detector(file).about == before
    config.scoring.smoothing = 2.0
    evaluate(config, trained / "run")
    assert read_detector(file).about["fingerprint"] != before["fingerprint"]
