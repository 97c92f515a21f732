"""What thresholds promise and what they keep, and when a change of light or camera is noticed.

    python -m benchmarks.thresholds RUN [RUN …]

RUN was trained with --config.data.calibration and has good test images. Prints Markdown tables.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from data.opening import open_image
from dtsnet_jax import Detector
from dtsnet_jax.devices.processes import choose_cpu_convolutions
from dtsnet_jax.inputs.sample import spread_places
from dtsnet_jax.prediction.drift import DriftTest
from dtsnet_jax.prediction.limits import find_limit

RATES = (0.01, 0.02, 0.05, 0.1)
SPLITS, ORDERS, PHOTOGRAPHS, CHANGED = 20, 20, 100, 40


def _moved(image: Image.Image) -> Image.Image:
    return ImageChops.offset(image, image.width // 20, image.height // 20)


def _reddened(image: Image.Image) -> Image.Image:
    red, green, blue = image.convert("RGB").split()
    return Image.merge("RGB", (red.point(lambda v: v * 1.1), green, blue.point(lambda v: v * 0.9)))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "none": lambda image: image,
    "5 % darker": lambda image: ImageEnhance.Brightness(image).enhance(0.95),
    "20 % darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "blurred, σ = 1 px": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "blurred, σ = 2 px": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "moved by 5 %, wrapped around": _moved,
    "10 % redder": _reddened,
}


def coverage(category: str, result: dict) -> list[str]:
    """A row for each rate: promised, measured on the good test images, and over random splits."""
    kept = np.array(result["calibration_scores"])
    good = np.array([one["score"] for one in result["images"] if one["defect"] == "good"])
    unseen, generator = np.concatenate([kept, good]), np.random.default_rng(0)
    rows = []
    for rate in RATES:
        limit = find_limit(kept, rate)
        rates = []
        for _ in range(SPLITS):
            mixed = generator.permutation(unseen)
            rates.append((mixed[len(kept) :] > find_limit(mixed[: len(kept)], rate).score).mean())
        how = "extrapolated" if limit.extrapolated else "exact"
        rows.append(
            f"| {category} | {len(kept)} | {len(good)} | {100 * rate:g} | {how} | "
            f"{100 * (good > limit.score).mean():.1f} | "
            f"{100 * np.mean(rates):.1f} ± {100 * np.std(rates, ddof=1):.1f} |"
        )
    return rows


def drift(detector: Detector, paths: list[Path]) -> list[str]:
    """A row for each change: how often it is noticed, and after how many photographs."""
    rows, generator = [], np.random.default_rng(0)
    chosen = spread_places(len(paths), CHANGED)
    images = [open_image(paths[place]).convert("RGB") for place in chosen]
    for name, change in CHANGES.items():
        unusual = np.array([one.unusual for one in detector([change(image) for image in images])])
        delays = []
        for _ in range(ORDERS):
            test = DriftTest(len(detector.calibration.scores))
            order = generator.choice(unusual, PHOTOGRAPHS)
            delays.append(next((i for i, p in enumerate(order, 1) if test.update(p)), None))
        found = [delay for delay in delays if delay is not None]
        median = f"{np.median(found):g}" if found else "–"
        odd = f"{(unusual <= 0.1).mean():.0%}"
        rows.append(
            f"| {detector.category} | {name} | {odd} | {len(found)} of {ORDERS} | {median} |"
        )
    return rows


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="directories of runs")
    promised, noticed = [], []
    choose_cpu_convolutions()
    for directory in parser.parse_args().runs:
        report = json.loads((directory / "results.json").read_text())
        for category, results in report["categories"].items():
            result = results["seeds"][0]
            promised += coverage(category, result)
            good = [Path(one["file"]) for one in result["images"] if one["defect"] == "good"]
            noticed += drift(Detector.load(directory, category=category), good)
    header = "| | calibration images | good test images | promised, % | limit | measured, % | "
    print(f"{header}over {SPLITS} random splits, % |\n|---|---:|---:|---:|---|---:|---:|")
    print("\n".join(promised))
    header = "| | change of the good test images | odd | noticed within "
    print(f"\n{header}{PHOTOGRAPHS} | after photographs, median |\n|---|---|---:|---:|---:|")
    print("\n".join(noticed))


if __name__ == "__main__":
    main()
