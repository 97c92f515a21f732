"""Several seeds as one detector: its map is the mean of theirs, and it is a run of its own."""

import numpy as np
import pytest

from dtsnet_jax import Detector
from dtsnet_jax.errors import UserError
from dtsnet_jax.jobs.ensemble import ensemble
from dtsnet_jax.jobs.train import train
from dtsnet_jax.run import Run
from tests.helpers import launch, only_result, photograph, small_config
from tests.miniature import save

SEEDS = {"seeds": (3, 4), "train__epochs": 1, "data__calibration": 0.7}


@pytest.fixture(scope="module", params=["student", "student+knn"])
def trained(request, tmp_path_factory):
    """The directory of a run with two seeds and its photographs, and the result of the ensemble."""
    root = tmp_path_factory.mktemp("seeds")
    for index in range(20):
        save(photograph(index), root / "parts" / "normal" / f"{index:03}.png")
    for index in range(3):
        save(photograph(100 + index), root / "parts" / "defective" / f"{index:03}.png")
    fields = SEEDS | {"detector": request.param, "knn__coreset_size": 40}
    train(small_config(root / "parts", **fields), root / "run")
    return root, only_result(ensemble(Run(root / "run").config(), root / "run"))


def test_the_map_is_the_mean_of_the_maps_of_all_seeds(trained):
    root, result = trained
    paths = [one["file"] for one in result["images"]]
    joint = Detector.load(root / "run" / "ensemble")(paths)
    members = [Detector.load(root / "run", seed=seed)(paths) for seed in SEEDS["seeds"]]
    assert any(np.abs(a.map - b.map).max() > 0.01 for a, b in zip(*members, strict=True))
    for one, *each in zip(joint, *members, strict=True):
        mean = np.mean([member.map for member in each], axis=0)
        np.testing.assert_allclose(one.map, mean, rtol=1e-4, atol=1e-5)
    assert [one.score for one in joint] == pytest.approx(
        [one["score"] for one in result["images"]], rel=1e-4
    )


def test_its_limits_rest_on_its_own_scores_of_the_calibration_images(trained):
    root, _ = trained
    detector = Detector.load(root / "run" / "ensemble")
    kept = detector.calibration.scores
    assert len(kept) == 12  # of the 16 that are not for testing
    paths = sorted((root / "parts" / "normal").iterdir())
    scores = {one.score for one in detector(paths)}
    assert all(min(abs(score - one) for one in scores) < 1e-4 * score for score in kept)


def test_it_is_a_run_beside_which_the_seeds_stay_as_they_were(trained):
    root, result = trained
    assert result["seed"] == "3+4" and "image_auroc" in result["metrics"]
    assert {path.name for path in (root / "run" / "ensemble").iterdir()} >= {
        "config.json", "report.html", "results.csv", "results.json", "results.md", "parts"
    }  # fmt: skip
    assert (
        Detector.load(root / "run").fingerprint == Detector.load(root / "run", seed=3).fingerprint
    )


def test_one_seed_a_table_or_a_seed_that_is_missing_is_refused(trained, tmp_path):
    root, _ = trained
    config = Run(root / "run").config()
    config.seeds = (3,)
    with pytest.raises(UserError, match=r"has only the seed 3, an ensemble needs several"):
        ensemble(config, root / "run")
    config.seeds = (3, 4)
    config.rows = ("rd", "paper")
    with pytest.raises(UserError, match=r"is a table of rd, paper; .* as --workdir=.*rd"):
        ensemble(config, root / "run")
    with pytest.raises(UserError, match=r"seed-3' holds nothing that was trained"):
        ensemble(Run(root / "run").config(), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_command_needs_no_configuration(trained):
    root, result = trained
    process = launch("--job=ensemble", "--workdir", root / "run")
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert f"{100 * result['metrics']['image_auroc']:.1f}" in printed
