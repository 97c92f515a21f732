"""Time of all metrics of one category, beside others' code; memory of a large one.

    taskset -c 0 python -m benchmarks.metrics

Prints a Markdown table: 83 score maps of 256 × 256 pixels with 100 defects (the size of MVTec AD's
bottle), and the peak memory for 1,000 maps.
"""

import os
import platform
import resource
import statistics
import subprocess
import sys
import time

import adeval
import numpy as np
from scipy import ndimage
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from benchmarks.machine import processor
from dtsnet_jax.evaluation.metrics import pixel_metrics, ranking_metrics

MAPS, DEFECTIVE, SIZE, REPEATS = 83, 50, 256, 5
LARGE = 1000
LARGE_FLAG = "--large"


def example(count: int, defective: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth maps and masks; each defective image has two defects, which score higher.

    Returns:
      (n, 256, 256) bool and (n, 256, 256) float32.
    """
    generator = np.random.default_rng(0)
    masks = np.zeros((count, SIZE, SIZE), bool)
    maps = np.empty((count, SIZE, SIZE), np.float32)
    for index in range(count):
        if index < defective:
            for top in (10, 140):
                height, width = generator.integers(10, 60, 2)
                left = generator.integers(0, SIZE - width)
                masks[index, top : top + height, left : left + width] = True
        noise = generator.standard_normal((SIZE, SIZE), np.float32)
        maps[index] = ndimage.gaussian_filter(noise + 0.3 * masks[index], 4)
    return masks, maps


def ours(masks: np.ndarray, maps: np.ndarray) -> dict[str, float]:
    """All of our metrics."""
    images = ranking_metrics(masks.any((1, 2)), maps.max((1, 2)))
    pixels = pixel_metrics(masks, maps)
    return {
        "I-AUROC": images.auroc,
        "P-AUROC": pixels.ranking.auroc,
        "P-AP": pixels.ranking.average_precision,
        "P-F1": pixels.ranking.f1_max,
        "PRO": pixels.pro,
        "PRO per image": pixels.pro_per_image,
    }


def scikit_learn(masks: np.ndarray, maps: np.ndarray) -> dict[str, float]:
    """The same without PRO, as one writes it with scikit-learn."""
    labels, scores = masks.ravel(), maps.ravel()
    precision, recall, _ = precision_recall_curve(labels, scores)
    return {
        "I-AUROC": roc_auc_score(masks.any((1, 2)), maps.max((1, 2))),
        "P-AUROC": roc_auc_score(labels, scores),
        "P-AP": average_precision_score(labels, scores),
        "P-F1": (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max(),
    }


def adeval_areas(masks: np.ndarray, maps: np.ndarray) -> dict[str, float]:
    """The areas that adeval has, in its 1,000 bins."""
    np.trapz = np.trapezoid  # adeval 1.1.0 calls it by the name that NumPy 2.4 dropped
    area, precision, pro = adeval.auroc_aupr_aupro(maps, masks.astype(np.uint8))
    return {"P-AUROC": area, "P-AUPR": precision, "PRO": pro}


def released_loop(masks: np.ndarray, maps: np.ndarray) -> dict[str, float]:
    """PRO per image as the released code goes about it: 200 thresholds, region by region."""
    areas = []
    for mask, scores in zip(masks, maps.astype(np.float64), strict=True):
        if not mask.any():
            continue
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions = [labels == number for number in range(1, count + 1)]
        low, high = scores.min(), scores.max()
        rates, overlaps = [], []
        for threshold in np.arange(low, high, (high - low) / 200):
            above = scores > threshold
            overlaps.append(np.mean([above[region].mean() for region in regions]))
            rates.append((above & ~mask).sum() / (~mask).sum())
        kept = np.array(rates) < 0.3
        rate = np.array(rates)[kept]
        areas.append(auc(rate / rate.max(), np.array(overlaps)[kept]))
    return {"PRO per image": float(np.mean(areas))}


def print_peak() -> None:
    """Computes the metrics of a large test set and prints the memory and time that took."""
    masks, maps = example(LARGE, LARGE // 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    ours(masks, maps)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{peak / 2**20:.2f} {(peak - before) / 2**20:.2f} {seconds:.1f}")


def main() -> None:
    """Measures and prints."""
    masks, maps = example(MAPS, DEFECTIVE)
    cores = len(os.sched_getaffinity(0))
    print(
        f"{cores} core(s) of {processor()}, Python {platform.python_version()}, NumPy "
        f"{np.__version__}; {MAPS} maps of {SIZE} px, {2 * DEFECTIVE} defects, median of "
        f"{REPEATS} (ours)\n"
    )
    print("| what | seconds | values |\n|---|---|---|")
    for name, function in (
        ("ours, every metric", ours),
        ("scikit-learn, no PRO", scikit_learn),
        ("adeval, in 1,000 bins", adeval_areas),
        ("the released code's loop, PRO per image only", released_loop),
    ):
        times = []
        for _ in range(REPEATS if function is ours else 1):
            started = time.perf_counter()
            values = function(masks, maps)
            times.append(time.perf_counter() - started)
        listed = ", ".join(f"{metric} {value:.6f}" for metric, value in values.items())
        print(f"| {name} | {statistics.median(times):.2f} | {listed} |")
    command = [sys.executable, "-m", "benchmarks.metrics", LARGE_FLAG]
    large = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    print(
        f"\n{LARGE} maps: peak memory {large[0]} GiB with the maps and masks themselves, "
        f"{large[1]} GiB above them, {large[2]} s."
    )


if __name__ == "__main__":
    print_peak() if LARGE_FLAG in sys.argv else main()
