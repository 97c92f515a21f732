"""Training step and inference of one backbone, ours and PyTorch's, one after the other.

    python -m benchmarks.steps --backbone=resnet18 --batch=16 --precision=float32

Random weights and random photographs: speed does not depend on them. Needs no TensorFlow; PyTorch
and torchvision for the rival. Prints rows of a Markdown table.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the rival needs memory too

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.work import multiply_adds, peak_flops
from dtsnet_jax.feature_cache import FeatureCache
from dtsnet_jax.mesh import data_mesh, replicate, split_whole
from dtsnet_jax.model.backbones import get_backbone
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.model.encoder import build_encoder
from dtsnet_jax.optimizer import build_optimizer
from dtsnet_jax.processes import choose_cpu_convolutions
from dtsnet_jax.scoring import score_map
from dtsnet_jax.step import (
    TrainState,
    make_level_step,
    make_teacher_step,
    make_train_step,
    split_network,
)

SIZE = 256
HEADER = ("what", "median s", "least – greatest", "images/s", "GFLOP an image", "of peak", "memory")


def seconds(function: Callable[[], object], wait: Callable[[object], None], repeats: int):
    """Median, least and greatest of several calls, after two that are not counted."""
    for _ in range(2):
        wait(function())
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        wait(function())
        times.append(time.perf_counter() - started)
    return statistics.median(times), min(times), max(times)


def row(name: str, times, images: int, *, work: float = 0, peak=None, memory: float = 0) -> str:
    """One row of the table; ``work`` in FLOP an image, ``memory`` in bytes."""
    median, least, greatest = times
    share = f"{100 * work * images / median / peak:.1f} %" if peak and work else "–"
    cells = (
        name,
        f"{median:.4f}",
        f"{least:.4f} – {greatest:.4f}",
        f"{images / median:.1f}",
        f"{work / 1e9:.1f}" if work else "–",
        share,
        f"{memory / 2**30:.2f} GiB" if memory else "–",
    )
    return "| " + " | ".join(cells) + " |"


class Ours:
    """Teacher, student, optimiser and the jitted steps, as the training job builds them."""

    def __init__(self, name: str, precision: str):
        dtype = jnp.bfloat16 if precision == "bfloat16" else None
        self.backbone, self.mesh = get_backbone(name), data_mesh()
        teacher = build_encoder(name, dtype=dtype, rngs=nnx.Rngs(0))
        student = Student(
            name,
            bottleneck="mff",
            reconstruction=True,
            noise_scale=0.1,
            temperature=0.5,
            dtype=dtype,
            rngs=nnx.Rngs(1),
        )
        network, teacher_arrays, params, batch_stats = split_network(
            self.backbone, teacher, student
        )
        optimizer = build_optimizer(
            learning_rate=0.005, reconstruction_learning_rate=0.001, accumulate=1
        )
        state = TrainState(jnp.zeros((), jnp.int32), params, batch_stats, optimizer.init(params))
        self.state, self.teacher = replicate((state, teacher_arrays), self.mesh)
        self.step = make_train_step(network, optimizer)
        self.teacher_step = make_teacher_step(network)
        self.level_step = make_level_step(network)
        self.score_map = jax.jit(
            lambda maps: score_map(
                maps, (1, 1, 1), image_size=SIZE, smoothing=0.0, levels=(1, 2, 3)
            )
        )

    def train(self, batch: dict) -> jax.Array:
        """One step on arrays that lie on the device; returns the loss."""
        self.state, loss = self.step(self.state, self.teacher, batch, jax.random.key(0))
        return loss

    def score(self, images: jax.Array) -> jax.Array:
        """Score maps."""
        state = self.state
        levels = self.level_step(state.params, state.batch_stats, self.teacher, images)
        return self.score_map(levels)

    def multiply_adds(self) -> tuple[int, int]:
        """Of the teacher and of the student on one image."""
        image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.uint8)
        teacher = multiply_adds(self.teacher_step, self.teacher, image)
        both = multiply_adds(
            self.level_step, self.state.params, self.state.batch_stats, self.teacher, image
        )
        return teacher, both - teacher

    def memory(self, batch: dict) -> tuple[float, float]:
        """XLA's plan for a step: its bytes, and its own count of FLOP."""
        compiled = self.step.lower(self.state, self.teacher, batch, jax.random.key(0)).compile()
        plan, cost = compiled.memory_analysis(), compiled.cost_analysis()
        used = plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes
        return used - plan.alias_size_in_bytes, cost.get("flops", 0.0)


def our_rows(name: str, precision: str, batch: int, repeats: int, batches: list[int]) -> list[str]:
    """Training with and without the teacher's cache, inference one by one and in batches."""
    ours, peak = Ours(name, precision), peak_flops(precision)
    generator = np.random.default_rng(0)

    def bytes_of(count: int) -> np.ndarray:
        return generator.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)

    normal = bytes_of(batch)
    synthetic = split_whole(bytes_of(batch // 2), ours.mesh)
    features = FeatureCache(
        lambda x: ours.teacher_step(ours.teacher, x), normal, batch_size=batch, mesh=ours.mesh
    ).take(jnp.arange(batch))
    teacher, student = ours.multiply_adds()
    rows = []
    for cached in (False, True):
        inputs = {"synthetic": synthetic}
        inputs |= {"features": features} if cached else {"normal": split_whole(normal, ours.mesh)}
        work = 2 * ((0.5 if cached else 1.5) * teacher + 3 * student)
        memory, counted = ours.memory(inputs)
        times = seconds(lambda i=inputs: ours.train(i), jax.block_until_ready, repeats)
        title = f"ours, training, batch {batch}, teacher's features " + (
            "cached" if cached else "computed"
        )
        rows.append(row(title, times, batch, work=work, peak=peak, memory=memory))
        print(f"{title}: {work / 1e9:.1f} GFLOP an image from shapes, "
              f"{counted / batch / 1e9:.1f} by XLA's count", flush=True)  # fmt: skip
    for count in batches:
        images = split_whole(bytes_of(count), ours.mesh)
        times = seconds(lambda i=images: ours.score(i), jax.block_until_ready, 4 * repeats)
        work = 2 * (teacher + student)
        rows.append(row(f"ours, inference, batch {count}", times, count, work=work, peak=peak))
    return rows


def rival_rows(name: str, precision: str, batch: int, repeats: int, batches: list[int]):
    """The same in PyTorch, eager and compiled."""
    import torch

    from benchmarks.pytorch_rival import Rival

    device = "cuda" if torch.cuda.is_available() else "cpu"

    def wait(_: object) -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def bytes_of(count: int) -> torch.Tensor:
        return torch.randint(0, 256, (count, SIZE, SIZE, 3), dtype=torch.uint8, device=device)

    photographs = bytes_of(batch), bytes_of(batch // 2)
    rows = []
    for compiled in (False, True):
        title = "PyTorch, torch.compile" if compiled else "PyTorch"
        try:
            rival = Rival(name, device=device, precision=precision, compiled=compiled)
            times = seconds(lambda r=rival: r.train_step(*photographs), wait, repeats)
            rows.append(row(f"{title}, training, batch {batch}", times, batch))
            for count in batches:
                images = bytes_of(count)
                times = seconds(lambda r=rival, i=images: r.score(i), wait, 4 * repeats)
                rows.append(row(f"{title}, inference, batch {count}", times, count))
        except Exception as error:  # a rival that cannot be compiled here is told, not hidden
            print(f"{title} failed: {type(error).__name__}: {error}")
        print(f"{title}: done", flush=True)
    return rows


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--inference", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rival", action=argparse.BooleanOptionalAction, default=True)
    flags = parser.parse_args()
    choose_cpu_convolutions()
    arguments = (flags.backbone, flags.precision, flags.batch, flags.repeats, flags.inference)
    rows = our_rows(*arguments)
    if flags.rival:
        rows += rival_rows(*arguments)
    print(f"\n{flags.backbone}, {SIZE} px, {flags.precision}, median of {flags.repeats} "
          f"({4 * flags.repeats} for inference), {jax.devices()[0].device_kind}\n")  # fmt: skip
    print(f"| {' | '.join(HEADER)} |\n|---|" + "---:|" * (len(HEADER) - 1))
    print("\n".join(rows))


if __name__ == "__main__":
    main()
