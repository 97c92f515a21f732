"""The ONNX model answers as JAX does, for every network and every way of scoring."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest

from dtsnet_jax.config import image_shape
from dtsnet_jax.detectors.ensemble import MEMBERS
from dtsnet_jax.detectors.learner import build_learner, scoring_options
from dtsnet_jax.devices.mesh import data_mesh
from dtsnet_jax.evaluation.scoring import mean_of_largest
from dtsnet_jax.export.model import build_model
from dtsnet_jax.prediction.drift import oddness
from dtsnet_jax.weights.teacher import restore_teacher
from tests.export.detectors import draw_detector

# ResNet34 and ResNet50 differ from these in depth and width only.
BACKBONES = ("resnet18", "wide_resnet50_2", "efficientnet_lite0")
PLAIN = {"student__bottleneck": "rd", "student__reconstruction": False}
NEIGHBOURS = {"knn__levels": (1, 3)}
VARIANTS = {
    **{name: {"encoder__name": name, "data__image_size": 64} for name in BACKBONES},
    "plain": PLAIN,
    "plain fusion": {"student__reconstruction": False},
    "plain bottleneck of blocks with three convolutions": PLAIN | {"encoder__name": "tiny_wide"},
    "calibrated": {"scoring__calibrate": True},
    "weighed by length": {"scoring__weigh_by_length": True},
    "two levels": {"scoring__levels": (3, 1)},
    "no smoothing": {"scoring__smoothing": 0.0},
    "rectangle": {"data__image_size": (64, 96)},
    "mean of the largest": {"scoring__top_share": 0.05},
    "neighbours": {"detector": "knn"},
    "neighbours, other levels": {"detector": "knn", **NEIGHBOURS, "data__image_size": (32, 64)},
    "neighbours, one level": {"detector": "knn", "knn__levels": (2,)},
    "both": {
        "detector": "student+knn",
        "scoring__calibrate": True,
        "scoring__weigh_by_length": True,
    },
}


def answer(saved, images):
    """What JAX says."""
    config = saved.config
    teacher = restore_teacher(
        config.encoder.name, saved.parts["teacher"], data_mesh(), dtype=None, digest=""
    )
    learner, scoring = build_learner(config, teacher), scoring_options(config)
    return jax.tree.map(np.asarray, learner.answer(saved.parts, jnp.asarray(images), scoring))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_model_answers_as_jax_does(variant):
    saved = draw_detector(**VARIANTS[variant])
    size, share = image_shape(saved.config), saved.config.scoring.top_share
    images = np.random.default_rng(1).integers(0, 256, (3, *size, 3), np.uint8)
    expected = answer(saved, images)
    session = onnxruntime.InferenceSession(build_model(saved).SerializeToString())
    names = [output.name for output in session.get_outputs()]
    maps, features, scores = session.run(names, {"images": images})
    assert names == ["maps", "features", "scores"] and maps.dtype == np.float32
    np.testing.assert_allclose(maps, expected.maps, atol=2e-5 * expected.maps.max())
    np.testing.assert_allclose(
        scores, [mean_of_largest(one, share) for one in expected.maps], rtol=2e-5
    )
    odd = oddness(expected.features, saved.calibration.usual)
    np.testing.assert_allclose(np.square(features).mean(axis=1), odd, rtol=1e-3)
    (alone,) = session.run(["maps"], {"images": images[1:2]})
    np.testing.assert_allclose(alone[0], maps[1], atol=2e-5 * expected.maps.max())


@pytest.mark.parametrize("variant", ["calibrated", "both", "mean of the largest"])
def test_the_model_is_valid_for_runtimes_that_are_stricter(variant):
    model = build_model(draw_detector(**VARIANTS[variant]))
    onnx.checker.check_model(model, full_check=True)
    transposed = [node for node in model.graph.node if node.op_type == "Transpose"]
    assert len(transposed) == 1 + (variant == "both")  # of images, and for neighbours


def test_an_ensemble_answers_with_the_mean_of_its_members():
    saved = draw_detector(detector="student+knn")
    first = {name: part for name, part in saved.parts.items() if name != "teacher"}
    second = first | {"bank": 0.5 * first["bank"], "units": np.array([0.2, 0.9], np.float32)}
    parts = {"teacher": saved.parts["teacher"], MEMBERS: {0: first, 1: second}}
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    members = [answer(saved._replace(parts=saved.parts | one), images) for one in (first, second)]
    expected = np.mean([one.maps for one in members], axis=0)
    model = build_model(saved._replace(parts=parts)).SerializeToString()
    (maps,) = onnxruntime.InferenceSession(model).run(["maps"], {"images": images})
    np.testing.assert_allclose(maps, expected, atol=2e-5 * expected.max())
