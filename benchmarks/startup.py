"""Where a job's time goes before its first step or its first scores.

    python -m benchmarks.startup [train] [predict] [--workdir=DIR] [--records=1000] [--rows=20000]

CPU seconds of the stages that 'benchmarks/stages.py' tells apart. A job is started with an empty
and with a full cache of compiled programs, training once more where so many records have been
written, prediction where so many rows have. 'predict' needs what 'train' leaves in DIR. Prints a
Markdown table. Needs requirements-demo.txt.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.photographs import write_photographs
from dtsnet_jax.prediction.log import LINES_FILE
from dtsnet_jax.training.records import METRICS_FILE

ROOT = Path(__file__).parent.parent
PHOTOGRAPHS, DEFECTIVE = 40, 8
SIZE = (1024, 1024)  # as MVTec AD's largest
STAGES = (
    *("imports", "settings", "decoding", "hashing", "records", "building"),
    *("the neighbours' bank", "the teacher's features", "the first batch"),
    *("compiling, first step or scores", "other"),
)


def stages(arguments: list[str], compiled: Path, *, to_the_end: bool = False) -> dict[str, float]:
    """CPU seconds of every stage of a job, which is ended then or goes on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.stages", *arguments],
        cwd=ROOT,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(compiled)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        line = next((line for line in process.stdout if line.startswith("{")), None)
        if not to_the_end:
            process.kill()
        process.communicate()
    if line is None or (to_the_end and process.returncode):
        raise RuntimeError(f"{' '.join(arguments)} failed")
    return json.loads(line)


def repeat_last_line(path: Path, count: int, **fields: str) -> None:
    """Makes a file of so many lines by repeating the last; into ``fields`` goes its number."""
    lines = path.read_text().splitlines()
    last = json.loads(lines[-1])
    for number in range(len(lines), count):
        changes = {name: text.format(number) for name, text in fields.items()}
        lines.append(json.dumps(last | changes))
    path.write_text("\n".join(lines) + "\n")


def train(base: Path, records: int) -> dict[str, dict[str, float]]:
    """The stages of training, which leaves photographs in 'parts' and a trained run in 'run'."""
    write_photographs(base / "parts" / "normal", PHOTOGRAPHS, size=SIZE, suffix=".png")
    write_photographs(base / "parts" / "defective", DEFECTIVE, size=SIZE, suffix=".png")
    settings = [
        *("--config=configs/folder.py", f"--config.data.root={base / 'parts'}"),
        *("--config.encoder.name=efficientnet_lite0", "--config.data.calibration=0.4"),
    ]
    compiled, short = base / "compiled", "--config.train.visits=16"
    run = [*settings, f"--workdir={base / 'run'}"]
    found = {"train, nothing compiled": stages([*run, short], compiled, to_the_end=True)}
    other = [*settings, f"--workdir={base / 'other'}"]
    found["train, compiled before"] = stages([*other, short], compiled)
    (path,) = (base / "run").rglob(METRICS_FILE)
    repeat_last_line(path, records)
    found[f"train on, {records:,} records"] = stages([*run, "--config.train.visits=32"], compiled)
    return found


def predict(base: Path, rows: int) -> dict[str, dict[str, float]]:
    """The stages of prediction with what ``train`` has left."""
    job = ["--job=predict", f"--workdir={base / 'run'}", "--noheatmaps"]
    good, bad = (f"--images={base / 'parts' / kind}" for kind in ("normal", "defective"))
    compiled, out = base / "compiled by predictions", base / "predictions"
    first = [*job, good, f"--out={out}"]
    found = {"predict, nothing compiled": stages(first, compiled, to_the_end=True)}
    other = [*job, bad, f"--out={base / 'other predictions'}"]
    found["predict, compiled before"] = stages(other, compiled)
    repeat_last_line(out / LINES_FILE, rows, file="/line/{}.png")
    found[f"predict on, {rows:,} rows"] = stages([*job, bad, f"--out={out}"], compiled)
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", nargs="*", default=("train", "predict"))
    parser.add_argument("--workdir", type=Path)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    columns = {}
    with tempfile.TemporaryDirectory() as temporary:
        base = options.workdir or Path(temporary)
        if "train" in options.jobs:
            columns |= train(base, options.records)
        if "predict" in options.jobs:
            columns |= predict(base, options.rows)
    print(f"{PHOTOGRAPHS} photographs of {SIZE[0]} × {SIZE[1]}, EfficientNet-Lite0, 256 px\n")
    print(f"| CPU seconds | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for stage in STAGES:
        print(f"| {stage} | {' | '.join(f'{c.get(stage, 0):.2f}' for c in columns.values())} |")
    print(f"| all | {' | '.join(f'{sum(c.values()):.2f}' for c in columns.values())} |")


if __name__ == "__main__":
    main()
