"""What several tests need: small photographs, small runs."""

import atexit
import os
import shutil
import tempfile
from importlib.metadata import version

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # behaviour is tested on the CPU
# Programs are compiled many times and run a few times: quickly, and the same ones only once.
_FLAGS = "--xla_backend_optimization_level=0"
if version("jaxlib").startswith("0.10."):  # later ones do not know it and would abort
    _FLAGS += " --xla_cpu_use_fusion_emitters=false"
if _FLAGS not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAGS}".strip()
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp()
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

from jaxtyping import install_import_hook

# Where arrays are computed, every call is checked against its annotations; an int may stand for a
# float, as PEP 484 has it.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
ARRAYS = ("detectors", "devices", "evaluation", "model", "training")
install_import_hook([f"dtsnet_jax.{room}" for room in ARRAYS], CHECKER)

from dtsnet_jax.devices.processes import choose_cpu_convolutions

choose_cpu_convolutions()  # as launch.py does and before devices are used: the same programs

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dtsnet_jax.detectors import learner
from dtsnet_jax.jobs import table
from dtsnet_jax.jobs.train import train
from dtsnet_jax.prediction import detector
from tests import miniature
from tests.helpers import photograph, small_config
from tests.miniature import save


def write_own_images(root: Path) -> Path:
    for index in range(10):
        save(photograph(index), root / "normal" / f"{index:03}.png")
    for index in range(3):
        path = root / "defective" / "scratch" / f"{index:03}.png"
        save(photograph(100 + index), path)
        mask = np.zeros((40, 48), np.uint8)
        mask[10:20, 12 : 20 + index] = 255
        save(Image.fromarray(mask), root / "masks" / "scratch" / f"{index:03}_mask.png")
    return root


@pytest.fixture
def own_images(tmp_path) -> Path:
    """A user's directory: ten normal images, three defective ones with masks."""
    return write_own_images(tmp_path / "parts")


@pytest.fixture(scope="session")
def first_run(tmp_path_factory) -> Path:
    """A run of one epoch on the same images; ``trained_run`` is its copy."""
    root = tmp_path_factory.mktemp("trained")
    train(small_config(write_own_images(root / "parts"), train__epochs=1), root / "run")
    return root / "run"


@pytest.fixture
def trained_run(own_images, first_run, tmp_path) -> Path:
    """A run of one epoch on ``own_images``, for tests of what comes after it."""
    return shutil.copytree(first_run, tmp_path / "run")


@pytest.fixture(scope="session")
def miniatures(tmp_path_factory) -> Path:
    """The directory of all miniature data sets; tests that change them copy them first."""
    root = tmp_path_factory.mktemp("miniatures")
    miniature.write_all(root)
    return root


@pytest.fixture
def tfds_data(tmp_path, monkeypatch) -> Path:
    """An empty directory of TFDS's data."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


@pytest.fixture(autouse=True, scope="session")
def shared_programs():
    """Teachers and programs hold no state: tests with the same network share the compiled ones.

    Yields the function that builds programs for oneself.
    """
    kept = {}

    def share(module, name, key):
        build = getattr(module, name)

        def built(*arguments, **options):
            wanted = name, *key(*arguments, **options)
            if wanted not in kept:
                kept[wanted] = build(*arguments, **options)
            return kept[wanted]

        patch.setattr(module, name, built)
        return build

    with pytest.MonkeyPatch.context() as patch:
        share(table, "load_teacher", lambda name, weights, *, dtype=None: (name, weights, dtype))
        share(detector, "restore_teacher", lambda name, *_, dtype, digest: (name, dtype, digest))
        share(learner, "NeighborLearner", lambda teacher, **rest: (id(teacher), *rest.items()))
        yield share(learner, "build_programs", program_settings)


def program_settings(config, teacher) -> tuple:
    """What the programs of a network depend on."""
    train = config.train
    rates = train.learning_rate, train.reconstruction_learning_rate
    return id(teacher), config.student.to_json(), *rates, train.average_over
