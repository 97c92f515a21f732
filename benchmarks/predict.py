"""From the command to the first score, and photographs a second, beside PyTorch.

    python -m benchmarks.predict [--photographs=400] [--backbone=resnet18]

Ours is the predict job without pictures: scores, p-values, decisions, record on disk. The rival is
'benchmarks/predict_rival.py', which decodes, scores with the same network and writes the scores.
Weights are random. Prints a Markdown table. Needs requirements-dev.txt.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch

from benchmarks.photographs import write_photographs
from tests.parity.reference import torch_resnet

ROOT = Path(__file__).parent.parent


def run_until_scored(command: list[str], record: Path, **environment: str) -> tuple[float, ...]:
    """Seconds to the first score and to the end, and the peak of resident memory in MiB.

    Args:
      command: what scores.
      record: the file that grows with every batch of scores.
      environment: variables to set.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL
    )
    watched, peak, first = psutil.Process(process.pid), 0, None
    while process.poll() is None:
        try:
            family = [watched, *watched.children(recursive=True)]
            peak = max(peak, sum(one.memory_info().rss for one in family))
        except psutil.NoSuchProcess:
            continue
        if first is None and record.is_file() and len(record.read_bytes().splitlines()) > 1:
            first = time.perf_counter() - started
        time.sleep(0.02)
    if process.returncode or first is None:
        raise RuntimeError(f"{' '.join(command)} failed")
    return first, time.perf_counter() - started, peak / 2**20


def trained_run(base: Path, backbone: str) -> Path:
    """A run of one step with random weights and twelve calibration images."""
    weights = base / "weights.pth"
    torch.save(torch_resnet(backbone).state_dict(), weights)
    write_photographs(base / "parts" / "normal", 20, size=(256, 256), suffix=".png")
    fields = {
        "data.root": base / "parts",
        "data.calibration": 0.6,
        "encoder.name": backbone,
        "encoder.weights": weights,
        "train.visits": 8,
        "train.batch_size": 8,
        "train.accumulate": 1,
    }
    command = [sys.executable, "launch.py", "--config", "configs/folder.py:paper"]
    command += [f"--config.{name}={value}" for name, value in fields.items()]
    subprocess.run([*command, "--workdir", base / "run"], cwd=ROOT, check=True, capture_output=True)
    return base / "run"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=int, default=400)
    parser.add_argument("--backbone", default="resnet18")
    options = parser.parse_args()
    print(f"{options.photographs} photographs of 512 × 512, {options.backbone}, 256 px, float32\n")
    print("| what | to the first scores, s | in all, s | images/s after these | peak memory, MiB |")
    print("|---|---:|---:|---:|---:|", flush=True)

    def measure(name: str, command: list[str], record: Path, **environment: str) -> None:
        first, end, peak = run_until_scored(command, record, **environment)
        speed = (options.photographs - 16) / (end - first)
        print(f"| {name} | {first:.1f} | {end:.1f} | {speed:.1f} | {peak:.0f} |", flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        run, images = trained_run(base, options.backbone), base / "new"
        write_photographs(images, options.photographs, size=(512, 512), suffix=".png")
        start = [sys.executable, "launch.py", "--job=predict", "--workdir", str(run)]
        for name in ("nothing compiled before", "compiled before"):
            out = base / name
            ours = [*start, "--images", str(images), "--out", str(out), "--noheatmaps"]
            cache = {"JAX_COMPILATION_CACHE_DIR": str(base / "compiled")}
            measure(f"ours, {name}", ours, out / "predictions.jsonl", **cache)
        rival = [sys.executable, "-m", "benchmarks.predict_rival", options.backbone, str(images)]
        for name, flags in (("PyTorch", []), ("PyTorch, torch.compile", ["--compile"])):
            record = base / f"{name}.csv"
            measure(name, [*rival, str(record), *flags], record)


if __name__ == "__main__":
    main()
