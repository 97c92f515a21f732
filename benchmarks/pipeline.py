"""The input pipeline alone: images/s of (normal, synthetic, mask) batches, and where time goes.

    taskset -c 0,1 python -m benchmarks.pipeline

Prints a Markdown table. Needs requirements-dev.txt.
"""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.machine import processor
from benchmarks.per_sample_loader import loader
from benchmarks.photographs import write_photographs
from data.catalog import list_images
from data.images import TrainingImages, decode_images
from data.options import PixelOptions, SynthesisOptions
from data.perlin import perlin_mask, perlin_noise
from data.pipeline import sample_function, training_batches
from data.synthesis import mix
from data.tf import tf

IMAGES, TEXTURES = 64, 64
SIZE, BATCH = 256, 16
STEPS, REPEATS = 100, 5


def rate(batches: Iterable, images_each: int, *, steps: int) -> float:
    """Images per second over ``steps`` batches, after four that are not counted."""
    iterator = iter(batches)
    for _ in range(4):
        next(iterator)
    started = time.perf_counter()
    for _ in range(steps):
        next(iterator)
    return steps * images_each / (time.perf_counter() - started)


def median_rate(measure: Callable[[], float]) -> tuple[float, float, float]:
    """Median, least and greatest of several repeats."""
    rates = [measure() for _ in range(REPEATS)]
    return statistics.median(rates), min(rates), max(rates)


def stage_milliseconds(images: TrainingImages) -> dict[str, float]:
    """Milliseconds of one core for each stage of a synthesised sample, the stage run by itself."""
    draw = sample_function(images, options=SynthesisOptions(), seed=1)
    masks = tf.random.stateless_uniform([16, SIZE, SIZE], [1, 2]) > 0.5
    functions = {
        "whole sample": lambda i: draw(i, synthesized=True)["synthetic"],
        "gather the normal image": lambda i: draw(i, synthesized=False)["normal"],
        "Perlin noise, one of two": lambda i: perlin_noise(tf.stack([i, i]), SIZE),
        "Perlin mask (noise, rotation, threshold), one of two": lambda i: perlin_mask(
            tf.stack([i, i]), (SIZE, SIZE)
        ),
        "mixing, Eq. 2": lambda i: mix(
            images.normal[0], images.textures[0], masks[i % 16], tf.constant(0.5)
        ),
    }
    result = {}
    for name, function in functions.items():
        dataset = tf.data.Dataset.range(1000).map(function)  # sequential

        def measure(dataset=dataset) -> float:
            return rate(dataset, 1, steps=300)

        result[name] = 1000 / median_rate(measure)[0]
    return result


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        write_photographs(base / "images", IMAGES, size=(1024, 1024), suffix=".png")
        write_photographs(base / "textures", TEXTURES, size=(640, 480), suffix=".jpg")
        image_files, texture_files = (list_images(base / n)[0] for n in ("images", "textures"))

        options = PixelOptions(size=(SIZE, SIZE))
        started = time.perf_counter()
        normal = decode_images(image_files, options, what="images").images
        decoding = IMAGES / (time.perf_counter() - started)
        textures = decode_images(texture_files, options, what="textures").images
        images = TrainingImages(normal, None, textures)

        def ours() -> float:
            batches = training_batches(
                images,
                batch_size=BATCH,
                synthesize_every=2,
                options=SynthesisOptions(),
                seed=1,
                first_step=0,
                last_step=STEPS + 4,
            )
            return rate(batches, BATCH, steps=STEPS)

        def endless(batches: Iterable) -> Iterable:
            while True:
                yield from batches

        per_sample = loader(image_files, texture_files, SIZE, batch_size=BATCH)
        rows = {
            "ours, after the first epoch": median_rate(ours),
            "released code's way, decodes each sample": median_rate(
                lambda: rate(endless(per_sample), BATCH, steps=20)
            ),
        }
        stages = stage_milliseconds(images)

    cores = len(os.sched_getaffinity(0))
    print(f"\n{cores} cores of {processor()}, Python {platform.python_version()}, "
          f"TensorFlow {tf.__version__}; {SIZE} px, batch {BATCH}, half synthesised, "
          f"files of 1024 px; median (least – greatest) of {REPEATS} repeats\n")  # fmt: skip
    print("| loader | images/s |\n|---|---|")
    for name, (median, least, greatest) in rows.items():
        print(f"| {name} | {median:.0f} ({least:.0f} – {greatest:.0f}) |")
    ratio = rows["ours, after the first epoch"][0] / list(rows.values())[1][0]
    print(f"| ratio | {ratio:.1f} |")
    print(f"| ours, decoding once, at the start | {decoding:.0f} |")
    print("\n| stage of a synthesised sample, on its own, sequential | ms |\n|---|---|")
    for name, milliseconds in stages.items():
        print(f"| {name} | {milliseconds:.2f} |")


if __name__ == "__main__":
    main()
