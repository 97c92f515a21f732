"""Several seeds as one detector: its map is the mean of theirs, and results lie beside theirs."""

import json
import shutil

import numpy as np
import pytest

from dtsnet_jax import Detector
from dtsnet_jax.errors import UserError
from dtsnet_jax.jobs.ensemble import ensemble
from dtsnet_jax.jobs.train import train
from dtsnet_jax.run import Run
from tests.helpers import launch, only_result, photograph, seed_run, small_config
from tests.miniature import save

SEEDS = {"seeds": (3, 4), "train__epochs": 1, "data__calibration": 0.7, "knn__coreset_size": 40}


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def write_parts(directory):
    for index in range(20):
        save(photograph(index), directory / "normal" / f"{index:03}.png")
    for index in range(3):
        save(photograph(100 + index), directory / "defective" / f"{index:03}.png")


@pytest.fixture(scope="module", params=["knn", "student+knn"])
def trained(request, tmp_path_factory):
    """The directory of a run with two seeds and its photographs, and the result of the ensemble."""
    root = tmp_path_factory.mktemp("seeds")
    write_parts(root / "parts")
    train(small_config(root / "parts", detector=request.param, **SEEDS), root / "run")
    before = contents(root / "run")
    result = only_result(ensemble(Run(root / "run").config(), root / "run"))
    after = contents(root / "run")
    assert {path: after[path] for path in before} == before
    return root, result


def test_the_map_is_the_mean_of_the_maps_of_all_seeds(trained):
    root, result = trained
    paths = [one["file"] for one in result["images"]]
    joint = Detector.load(root / "run-ensemble")(paths)
    members = [Detector.load(root / "run", seed=seed)(paths) for seed in SEEDS["seeds"]]
    assert any(np.abs(a.map - b.map).max() > 0.001 for a, b in zip(*members, strict=True))
    for one, *each in zip(joint, *members, strict=True):
        mean = np.mean([member.map for member in each], axis=0)
        np.testing.assert_allclose(one.map, mean, rtol=1e-4, atol=1e-5)
    assert [one.score for one in joint] == pytest.approx(
        [one["score"] for one in result["images"]], rel=1e-4
    )


def test_its_limits_rest_on_its_own_scores_of_the_calibration_images(trained):
    root, _ = trained
    detector = Detector.load(root / "run-ensemble")
    kept = detector.calibration.scores
    assert len(kept) == 12  # of the 16 that are not for testing
    paths = sorted((root / "parts" / "normal").iterdir())
    scores = {one.score for one in detector(paths)}
    assert all(min(abs(score - one) for one in scores) < 1e-4 * score for score in kept)


def test_the_command_needs_no_configuration_and_writes_results_beside_the_run(tmp_path):
    write_parts(tmp_path / "parts")
    train(small_config(tmp_path / "parts", detector="knn", **SEEDS), tmp_path / "run")
    process = launch("--job=ensemble", "--workdir", tmp_path / "run")
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    out = tmp_path / "run-ensemble"
    assert {path.name for path in out.iterdir()} >= {
        "report.html", "results.csv", "results.json", "results.md", "parts"
    }  # fmt: skip
    mean = json.loads((out / "results.json").read_text())["mean"]
    assert f"{100 * mean['image_auroc']:.1f}" in printed
    assert "run-ensemble" in (out / "report.html").read_text()


def test_after_more_seeds_it_is_made_of_all_of_them(tmp_path):
    write_parts(tmp_path / "parts")
    fields = SEEDS | {"detector": "knn"}
    for seeds in ((3, 4), (5, 3, 4)):
        train(small_config(tmp_path / "parts", **fields | {"seeds": seeds}), tmp_path / "run")
        result = only_result(ensemble(Run(tmp_path / "run").config(), tmp_path / "run"))
        detector = Detector.load(tmp_path / "run-ensemble")
        scores = [one.score for one in detector([one["file"] for one in result["images"]])]
        assert scores == pytest.approx([one["score"] for one in result["images"]], rel=1e-4)
        assert len(detector._parts["members"]) == len(seeds)


def test_every_category_has_one(tmp_path):
    for name in ("cups", "lids"):
        write_parts(tmp_path / "parts" / name)
    fields = SEEDS | {"detector": "knn", "data__calibration": 0.0}
    for category in ("", "all"):
        workdir = tmp_path / f"run{category}"
        train(small_config(tmp_path / "parts", data__category=category, **fields), workdir)
        (report,) = ensemble(Run(workdir).config(), workdir).values()
        assert list(report["categories"]) == ["cups", "lids"]
        stored = json.loads((tmp_path / f"run{category}-ensemble" / "results.json").read_text())
        assert stored["mean"] == report["mean"]
        for name, one in report["categories"].items():
            detector = Detector.load(tmp_path / f"run{category}-ensemble", category=name)
            images = one["seeds"][0]["images"]
            assert detector(images[0]["file"]).score == pytest.approx(images[0]["score"], rel=1e-4)


def test_what_cannot_be_joined_is_refused_before_anything_is_written(trained, tmp_path):
    root, _ = trained
    shutil.copytree(root / "run", tmp_path / "run")

    def refused(message, **changes):
        config = Run(tmp_path / "run").config()
        config.update_from_flattened_dict(changes)
        with pytest.raises(UserError, match=message):
            ensemble(config, tmp_path / "run")
        assert [path.name for path in tmp_path.iterdir()] == ["run"]

    refused(r"has only the seed 3, an ensemble needs several", seeds=(3,))
    refused(r"is a table of rd, paper; .* as --workdir=.*rd", rows=("rd", "paper"))
    refused(r"data\.shard is '0/2'.*; leave it out", **{"data.shard": "0/2"})
    refused(r"seed-9' holds nothing that was trained", seeds=(3, 9))
    run = seed_run(tmp_path / "run", seed=4)
    for path in (run.checkpoints, run.bank):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    refused(r"seed-4' is trained to step 0 of \d; --job=train finishes it")
