"""What several tests share: small configurations, small networks, runs in other processes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from configs import folder
from data.options import PixelOptions
from dtsnet_jax.detectors import learner
from dtsnet_jax.evaluation.scoring import ScoringOptions
from dtsnet_jax.jobs import table
from dtsnet_jax.run import Run
from dtsnet_jax.seed_run import newest_step
from dtsnet_jax.training.checkpoints import load_state
from dtsnet_jax.training.optimizer import build_optimizer
from dtsnet_jax.training.step import TrainState
from tests import tiny

ROOT = Path(__file__).parent.parent
SEED = 111
MVTEC_TRAIN_IMAGES = {
    "carpet": 280, "grid": 264, "leather": 245, "tile": 230, "wood": 247, "bottle": 209,
    "cable": 224, "capsule": 219, "hazelnut": 391, "metal_nut": 220, "pill": 267, "screw": 320,
    "toothbrush": 60, "transistor": 213, "zipper": 240,
}  # fmt: skip
KEY = jax.random.key(0)
NOTHING_HELD_BACK = {"held_back": 0.0, "held_back_by": "spread"}
SMALL = {
    "encoder.name": "tiny",
    "encoder.weights": str(tiny.WEIGHTS),
    "data.image_size": 32,
    "data.calibration": 0.0,
    "train.batch_size": 4,
    "train.accumulate": 1,
    "train.epochs": 4,
    "train.average_over": 0.1,
    "train.log_every": 2,
    "train.checkpoint_minutes": 60.0,
    "scoring.batch_size": 4,
}


def scoring(batch_size: int, top_share: float = 0.0) -> ScoringOptions:
    """Options of scoring so many images a time."""
    return ScoringOptions(
        batch_size=batch_size,
        smoothing=4.0,
        levels=(1, 2, 3),
        weigh_by_length=False,
        calibrate=False,
        top_share=top_share,
    )


def photograph(seed: int, size: tuple[int, int] = (40, 48)) -> Image.Image:
    """A smooth random picture of (height, width)."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)


def square(size: int, **changes) -> PixelOptions:
    """Options of images of size × size pixels."""
    return PixelOptions(size=(size, size), **changes)


def small_config(root, **changes):
    """A user's folder at 32 pixels; ``changes`` are fields with '__' for the dot."""
    config = folder.get_config("paper")
    fields = {name.replace("__", "."): value for name, value in changes.items()}
    config.update_from_flattened_dict(SMALL | {"data.root": str(root)} | fields)
    return config


def launch(*arguments, program=("-m", "tests.tiny"), **options):
    """Starts launch.py, which here knows the tiny backbone, in a process of its own."""
    command = [sys.executable, *program, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def random_batches(size=64, batch=4, count=1):
    """What one training step takes: ``count`` batches of ``batch`` images, half synthesised."""
    generator = np.random.default_rng(0)
    return {
        "normal": generator.integers(0, 256, (count, batch, size, size, 3), np.uint8),
        "synthetic": generator.integers(0, 256, (count, batch // 2, size, size, 3), np.uint8),
    }


def start(params, batch_stats):
    """The optimiser and a state before the first step."""
    optimizer = build_optimizer(learning_rate=0.005, reconstruction_learning_rate=0.001)
    copies = jax.tree.map(jnp.copy, (params, batch_stats))
    return optimizer, TrainState(jnp.zeros((), jnp.int32), *copies, optimizer.init(params))


def launch_small(root, workdir, *arguments, **options):
    """Starts the training of ``small_config`` in a process of its own."""
    fields = (SMALL | {"data.root": root}).items()
    return launch(
        *("--config", "configs/folder.py:paper", "--workdir", workdir),
        *(f"--config.{name}={value}" for name, value in fields),
        *arguments,
        **options,
    )


def seed_run(workdir, category="parts", seed=SEED):
    """What one seed made of one category."""
    return Run(workdir).seed_run(category, seed)


def abstract_state():
    """Shapes, dtypes and places of the states of ``small_config``."""
    config = small_config("")
    teacher = table.load_teacher(config.encoder.name, config.encoder.weights)
    return learner.build_programs(config, teacher).abstract_state()


def final_state(workdir, category="parts"):
    """The newest state of a run of ``small_config``, on the host."""
    run = seed_run(workdir, category)
    state = load_state(run.checkpoints, newest_step(run.checkpoints), abstract_state())
    return jax.tree.map(np.asarray, state)


@contextmanager
def nothing_implicit() -> Iterator[None]:
    """JAX refuses what it would promote or send between host and devices without being asked."""
    with jax.numpy_dtype_promotion("strict"), jax.transfer_guard("disallow"):
        yield


def only_result(reports):
    """Of a job with one row, one category and one seed."""
    (one,) = reports.values()
    return one["categories"]["parts"]["seeds"][0]


def assert_same_state(ours, expected):
    """Compares all arrays bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, ours, expected)
