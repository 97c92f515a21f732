"""Kills a short training many times, always with the same command, and compares the end.

    python -m tests.campaign_kills --kills 50

The run is killed with SIGKILL at random moments from its start to its end, so decoding, training,
saving, measuring and writing are all hit. In the end the weights have to equal those of a run that
was left alone, bit for bit, results and report have to be whole, and nothing half-written may lie
about; then the next run begins, until the kills are used up. Prints what was hit. Not part of the
suite: it takes a quarter of an hour on two cores.
"""

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import jax
import numpy as np

from dtsnet_jax.devices.processes import choose_cpu_convolutions

choose_cpu_convolutions()

from tests.helpers import final_state, launch_small, photograph, seed_run
from tests.miniature import save

EPOCHS, STEPS = 150, 300
STARTING = 0.4  # share of the kills that come before training has begun
LATEST = 6.0  # seconds after the first new checkpoint that the others come at most
OPTIONS = (
    f"--config.train.epochs={EPOCHS}",
    "--config.train.checkpoint_minutes=0.02",
    "--config.train.evaluate_every=15",
    "--config.protocol=best_on_test",
    "--config.data.foreground=threshold",
)


def wait_for_checkpoint(process: subprocess.Popen, workdir: Path, before: int | None) -> None:
    """Returns when there is a checkpoint that was not there before, or the process has ended."""
    while process.poll() is None and seed_run(workdir).trained_step == before:
        time.sleep(0.01)


def finish(process: subprocess.Popen) -> None:
    """Waits for a run that has to end well."""
    _, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}:\n{err}")


def stage(workdir: Path, before: int | None) -> str:
    """What a start was about, by the checkpoint that it began with."""
    step = seed_run(workdir).trained_step
    if step == STEPS:
        return "measuring or reporting"
    return "starting" if step == before else "training"


def half_written(directory: Path) -> list[Path]:
    """What has a temporary name."""
    names = ("*.partial", "*tmp*", "*.orbax-checkpoint-tmp*")
    return sorted({path for name in names for path in directory.rglob(name)})


def compare(base: Path, name: str) -> None:
    """Compares a run that was killed with the one that was left alone."""
    jax.tree.map(
        np.testing.assert_array_equal, final_state(base / name), final_state(base / "whole")
    )
    results = [json.loads((base / run / "results.json").read_text()) for run in (name, "whole")]
    np.testing.assert_equal(*[r["categories"]["parts"]["metrics"] for r in results])
    steps = [r["categories"]["parts"]["seeds"][0]["step"] for r in results]
    assert steps[0] == steps[1], steps
    assert (base / name / "report.html").read_text().rstrip().endswith("</html>")
    remains = half_written(base / name) + half_written(base / "tfds")
    assert not remains, remains
    print(f"{name}: weights and results equal bit for bit, report whole, nothing half-written left")


def main() -> int:
    """Runs the campaign; returns 0 if everything is as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    generator = random.Random(flags.seed)
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        parts = base / "parts"
        for index in range(10):
            save(photograph(index), parts / "normal" / f"{index:03}.png")
        for index in range(3):
            save(photograph(100 + index), parts / "defective" / f"{index:03}.png")
        environment = os.environ | {"TFDS_DATA_DIR": str(base / "tfds")}

        def start(name: str):
            return launch_small(parts, base / name, *OPTIONS, env=environment)

        finish(start("first"))  # so that everything has been compiled
        process, started = start("whole"), time.monotonic()
        wait_for_checkpoint(process, base / "whole", None)
        starting = time.monotonic() - started
        finish(process)
        print(
            f"left alone: {time.monotonic() - started:.0f} s, of which {starting:.0f} s to the "
            f"first checkpoint; {STEPS} steps",
            flush=True,
        )
        hit, names = Counter(), map("killed-{}".format, itertools.count())
        name = next(names)
        while hit.total() < flags.kills:
            before = seed_run(base / name).trained_step
            process = start(name)
            wait = generator.uniform(0.0, starting)
            if generator.random() > STARTING:
                wait_for_checkpoint(process, base / name, before)
                wait = generator.uniform(0.0, LATEST)
            with suppress(subprocess.TimeoutExpired):
                process.wait(wait)
            if process.poll() is None:
                where = stage(base / name, before)
                process.send_signal(signal.SIGKILL)
                process.communicate()
                hit[where] += 1
                print(f"kill {hit.total()}: {where}", flush=True)
            else:  # it was faster
                finish(process)
                compare(base, name)
                name = next(names)
        finish(start(name))
        compare(base, name)
        print(f"{hit.total()} kills: {dict(hit)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
