"""What a precision changes: training, score maps, distances to neighbours, repetition.

    python -m benchmarks.precision --backbone=resnet18 --batch=16

On GPUs float32 is multiplied as TF32 by default; 'highest' is float32 throughout. All start from
the same random weights and see the same images and noise. With
XLA_FLAGS=--xla_gpu_deterministic_ops=true two trainings on a GPU end in the same bits.
"""

import argparse

import jax
import numpy as np

from benchmarks.steps import SIZE, Ours
from dtsnet_jax.detectors.neighbors import nearest_distance
from dtsnet_jax.devices.mesh import replicate, split_batch, split_whole
from dtsnet_jax.devices.processes import choose_cpu_convolutions
from dtsnet_jax.training.step import PyTree, TrainState

MODES = {  # by name, precision of the configuration and of products
    "float32, highest": ("float32", "highest"),
    "float32, default": ("float32", None),
    "bfloat16": ("bfloat16", None),
}
DIMENSIONS, BANK, QUERIES = 1536, 10_000, 1_000  # of levels 2 and 3 of WideResNet50-2


def images(count: int, seed: int) -> np.ndarray:
    """Smooth random images (count, SIZE, SIZE, 3) uint8."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(0, 255, (count, 16, 16, 3)).astype(np.float32)
    fine = jax.image.resize(coarse, (count, SIZE, SIZE, 3), "cubic")
    noisy = fine + generator.normal(0, 5, fine.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def train(ours: Ours, steps: int, batch: int) -> tuple[np.ndarray, TrainState]:
    """The losses of so many steps from the same start on the same images, and the state after."""
    arrays = {"normal": images(batch, 0)[None], "synthetic": images(batch // 2, 1)[None]}
    on_devices = split_batch(arrays, ours.teacher.mesh)
    ours.state = ours.programs.initial_state(seed=0)
    losses = [ours.train(on_devices) for _ in range(steps)]
    return np.array(jax.device_get(losses)), jax.device_get(ours.state)


def equal(one: PyTree, other: PyTree) -> bool:
    """Whether all bits of two trees agree."""
    pairs = zip(*map(jax.tree.leaves, (one, other)), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def as_tf32(array: np.ndarray) -> np.ndarray:
    """Rounded to the ten bits of mantissa that TF32 has; to nearest, ties away from zero."""
    bits = np.float32(array).view(np.uint32)
    return ((bits + 0x1000) & np.uint32(0xFFFFE000)).view(np.float32)


def distance(queries: np.ndarray, bank: np.ndarray, products: np.ndarray) -> np.ndarray:
    """In float64 the distance of each query to the nearest of the bank, of the products of both."""
    of_queries, of_bank = ((np.float64(vectors) ** 2).sum(axis=1) for vectors in (queries, bank))
    squares = of_queries[:, None] - 2 * products + of_bank
    return np.sqrt(np.maximum(squares, 0).min(axis=1))


def neighbours() -> None:
    """Distances to the nearest of a bank of unit vectors, near ones and far, against float64."""
    generator = np.random.default_rng(0)
    bank = generator.normal(size=(BANK, DIMENSIONS))
    bank = np.float32(bank / np.linalg.norm(bank, axis=1, keepdims=True))
    print("\n| distance to the nearest | largest error | with products in TF32, emulated |")
    print("|---|---:|---:|")
    for apart in (0.01, 0.1, 0.5):
        moves = generator.normal(size=(QUERIES, DIMENSIONS))
        moves *= apart / np.linalg.norm(moves, axis=1, keepdims=True)
        queries = np.float32(bank[:QUERIES] + moves)
        exact = distance(queries, bank, queries @ np.float64(bank).T)
        rounded = distance(queries, bank, as_tf32(queries) @ np.float64(as_tf32(bank)).T)
        found = jax.jit(nearest_distance)(queries, bank)
        errors = (np.abs(np.asarray(x, np.float64) - exact).max() for x in (found, rounded))
        print(f"| {apart} | {' | '.join(f'{error:.1e}' for error in errors)} |", flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    if options.steps < 10:
        parser.error(f"--steps is {options.steps}, expected 10 or more")
    choose_cpu_convolutions()
    print(f"{options.backbone}, {SIZE} px, batch {options.batch}, {options.steps} steps, "
          f"{jax.devices()[0].device_kind}\n")  # fmt: skip
    print("| | loss of step 1 | 10 | last | largest difference | maps: largest difference, "
          "correlation | again: same bits |")  # fmt: skip
    print("|---|---:|---:|---:|---:|---:|---|")
    exact = None
    for name, (precision, products) in MODES.items():
        with jax.default_matmul_precision(products):
            ours = Ours(options.backbone, precision)
            losses, state = train(ours, options.steps, options.batch)
            again = equal(state.params, train(ours, options.steps, options.batch)[1].params)
            if exact is None:
                exact = losses, state
            ours.state = replicate(exact[1], ours.teacher.mesh)
            maps = np.asarray(ours.score(split_whole(images(8, 2), ours.teacher.mesh)))
        if exact[1] is state:
            true_maps = maps
        difference = np.abs(losses - exact[0]).max()
        apart = np.abs(maps - true_maps).max() / true_maps.std()
        agree = np.corrcoef(maps.ravel(), true_maps.ravel())[0, 1]
        print(f"| {name} | {losses[0]:.4f} | {losses[9]:.4f} | "
              f"{losses[-1]:.4f} | {difference:.1e} | {apart:.1e} of their spread, {agree:.5f} | "
              f"{'yes' if again else 'no'} |", flush=True)  # fmt: skip
    neighbours()


if __name__ == "__main__":
    main()
