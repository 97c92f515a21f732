"""Training step and inference of one backbone, ours and PyTorch's, one after the other.

    python -m benchmarks.steps --backbone=resnet18 --batch=16 --precision=float32

Random weights and random photographs: speed does not depend on them. Needs no TensorFlow; PyTorch
and torchvision for the rival. Prints rows of a Markdown table.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the rival needs memory too

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.work import multiply_adds, peak_flops
from configs import default
from dtsnet_jax.detectors.learner import build_programs, compute_dtype
from dtsnet_jax.devices.mesh import split_batch, split_whole
from dtsnet_jax.devices.processes import choose_cpu_convolutions
from dtsnet_jax.evaluation.scoring import jitted_score_map
from dtsnet_jax.model.encoder import build_encoder
from dtsnet_jax.training.feature_cache import FeatureCache
from dtsnet_jax.weights.teacher import place_teacher

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


def print_row(
    name: str, times, images: int, *, work: float = 0, peak=None, memory: float = 0
) -> None:
    """Prints one row of the table; ``work`` in FLOP an image, ``memory`` in bytes."""
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
    print("| " + " | ".join(cells) + " |", flush=True)


class Ours:
    """The programs of the training job and a state to run them on, with random weights."""

    def __init__(self, name: str, precision: str):
        config = default.get_config()
        config.update_from_flattened_dict({"encoder.name": name, "precision": precision})
        dtype = compute_dtype(config)
        encoder = build_encoder(name, dtype=dtype, rngs=nnx.Rngs(0))
        self.teacher = place_teacher(name, encoder, dtype=dtype)
        self.programs = build_programs(config, self.teacher)
        self.state = self.programs.initial_state(seed=0)
        self.score_map = jitted_score_map((SIZE, SIZE), 0.0, (1, 2, 3))

    def train(self, batch: dict) -> jax.Array:
        """One step on arrays that lie on the device; returns the loss."""
        step, key = self.programs.train_step, jax.random.key(0)
        self.state, metrics = step(self.state, self.teacher.arrays, batch, key)
        return metrics.loss

    def score(self, images: jax.Array) -> jax.Array:
        """Score maps."""
        state, arrays = self.state, self.teacher.arrays
        levels, _ = self.programs.level_step(state.params, state.batch_stats, arrays, images)
        return self.score_map(levels, (1, 1, 1))

    def multiply_adds(self) -> tuple[int, int]:
        """Of the teacher and of the student on one image."""
        image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.uint8)
        state, programs, arrays = self.state, self.programs, self.teacher.arrays
        teacher = multiply_adds(programs.teacher_step, arrays, image)
        weights = state.params, state.batch_stats
        both = multiply_adds(programs.level_step, *weights, arrays, image)
        return teacher, both - teacher

    def memory(self, batch: dict) -> tuple[float, float]:
        """XLA's plan for a step: its bytes, and its own count of FLOP."""
        arguments = self.state, self.teacher.arrays, batch, jax.random.key(0)
        compiled = self.programs.train_step.lower(*arguments).compile()
        plan, cost = compiled.memory_analysis(), compiled.cost_analysis()
        used = plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes
        return used - plan.alias_size_in_bytes, cost.get("flops", 0.0)


def measure_ours(name: str, precision: str, batch: int, repeats: int, counts: list[int]) -> None:
    """Training with and without the teacher's cache, inference one by one and in batches."""
    ours, peak = Ours(name, precision), peak_flops(precision)
    mesh, generator = ours.teacher.mesh, np.random.default_rng(0)

    def bytes_of(count: int) -> np.ndarray:
        return generator.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)

    normal = bytes_of(batch)
    one_batch = {"normal": normal[None], "synthetic": bytes_of(batch // 2)[None]}
    on_devices = split_batch(one_batch, mesh)
    teacher_step = partial(ours.programs.teacher_step, ours.teacher.arrays)
    cache = FeatureCache(teacher_step, normal, batch_size=batch, mesh=mesh)
    teacher, student = ours.multiply_adds()
    for cached in (False, True):
        inputs = dict(on_devices)
        if cached:
            del inputs["normal"]
            inputs["features"] = cache.take(jnp.arange(batch)[None])
        work = 2 * ((0.5 if cached else 1.5) * teacher + 3 * student)
        memory, counted = ours.memory(inputs)
        title = f"ours, training, batch {batch}, teacher's features " + (
            "cached" if cached else "computed"
        )
        print(f"{title}: {work / 1e9:.1f} GFLOP an image from shapes, "
              f"{counted / batch / 1e9:.1f} by XLA's count", file=sys.stderr)  # fmt: skip
        times = seconds(lambda i=inputs: ours.train(i), jax.block_until_ready, repeats)
        print_row(title, times, batch, work=work, peak=peak, memory=memory)
    for count in counts:
        images = split_whole(bytes_of(count), mesh)
        times = seconds(lambda i=images: ours.score(i), jax.block_until_ready, 4 * repeats)
        work = 2 * (teacher + student)
        print_row(f"ours, inference, batch {count}", times, count, work=work, peak=peak)


def measure_rival(name: str, precision: str, batch: int, repeats: int, counts: list[int]) -> None:
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
    for compiled in (False, True):
        title = "PyTorch, torch.compile" if compiled else "PyTorch"
        try:
            rival = Rival(name, device=device, precision=precision, compiled=compiled)
            times = seconds(lambda r=rival: r.train_step(*photographs), wait, repeats)
            print_row(f"{title}, training, batch {batch}", times, batch)
            for count in counts:
                images = bytes_of(count)
                times = seconds(lambda r=rival, i=images: r.score(i), wait, 4 * repeats)
                print_row(f"{title}, inference, batch {count}", times, count)
        except Exception as error:  # a rival that cannot be compiled here is told, not hidden
            print(f"{title} failed: {type(error).__name__}: {error}")


def main() -> None:
    """Measures and prints, each row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--inference", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rival", action=argparse.BooleanOptionalAction, default=True)
    flags = parser.parse_args()
    choose_cpu_convolutions()
    print(f"{flags.backbone}, {SIZE} px, {flags.precision}, median of {flags.repeats} "
          f"({4 * flags.repeats} for inference), {jax.devices()[0].device_kind}\n")  # fmt: skip
    print(f"| {' | '.join(HEADER)} |\n|---|" + "---:|" * (len(HEADER) - 1))
    arguments = (flags.backbone, flags.precision, flags.batch, flags.repeats, flags.inference)
    measure_ours(*arguments)
    if flags.rival:
        measure_rival(*arguments)


if __name__ == "__main__":
    main()
