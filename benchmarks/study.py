"""The study behind the README's results: variants on real sets, and how far training has to go.

    python -m benchmarks.study --mvtec=DIR --tile=DIR --textures=DTD [--sets=screw] [--rows=rd,knn]

Trains what is not trained yet, row by row, and draws and prints what there is: it may be stopped
at any time and goes on from there. DIR are MVTec AD and the magnetic tiles of Huang, Qiu & Yuan
(2020) in MVTec AD's layout; ELPV comes with requirements-demo.txt. On a CPU every row of a set is
an hour or less of one core; figures repeat to the last digit on the same number of cores.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure

VISITS = 10_000
SETS = {  # the configuration, its flags, and after how many epochs is measured: 2,500 visits
    "bottle": ("mvtec", "data.root={mvtec} data.category=bottle data.foreground=threshold", 12),
    "screw": ("mvtec", "data.root={mvtec} data.category=screw data.foreground=threshold", 8),
    "magnetic tile": ("folder", "data.root={tile}", 4),
    "ELPV mono": ("demo", "data.category=mono", 7),
    "ELPV poly": ("demo", "data.category=poly", 5),
}
GRAY = ("screw", "magnetic tile", "ELPV mono", "ELPV poly")
ROWS = (
    *("rd", "rd_fas", "rd_fas_mff", "no_diversity", "no_foreground", "paper"),
    *("calibrated", "levels_2_3", "knn", "robust"),
)
METRICS = {"image_auroc": "I-AUROC", "pixel_auroc": "P-AUROC", "pro": "PRO"}


def command(name: str, rows: list[str], workdir: Path, places: dict[str, Path]) -> list[str]:
    """What trains rows of a set."""
    config, flags, epochs = SETS[name]
    fields = [
        *flags.format(**places).split(" "),
        f"data.textures={places['textures']}",
        "data.calibration=0",
        "encoder.name=efficientnet_lite0",
        f"synthesis.gray_textures={name in GRAY}",
        "train.epochs=0",
        f"train.visits={VISITS}",
        "train.accumulate=2",
        f"train.evaluate_every={epochs}",
        "scoring.heatmaps=False",
        f"rows={tuple(rows)}",
    ]
    start = [sys.executable, "launch.py", "--config", f"configs/{config}.py:paper"]
    return [*start, "--workdir", str(workdir), *(f"--config.{field}" for field in fields)]


def read_row(directory: Path) -> dict | None:
    """The result of a row's only category and seed, None where it is not finished."""
    path = directory / "results.json"
    if not path.is_file():
        return None
    (category,) = json.loads(path.read_text())["categories"].values()
    return category["seeds"][0]


def print_table(results: dict[str, dict[str, dict]]) -> None:
    """Prints I-AUROC / P-AUROC / PRO of every row by set, in percent."""
    print(f"\n| | {' | '.join(results)} |\n|---|{'---|' * len(results)}")
    for row in ROWS:
        cells = []
        for rows in results.values():
            metrics = rows[row]["metrics"] if row in rows else {}
            values = [f"{100 * metrics[name]:.1f}" for name in METRICS if name in metrics]
            cells.append(" / ".join(values) or "–")
        print(f"| `{row}` | {' | '.join(cells)} |")


def draw(results: dict[str, dict[str, dict]], path: Path) -> None:
    """Draws I-AUROC and PRO against image visits, a column for each set."""
    figure = Figure(figsize=(3.2 * len(results), 5.6), layout="constrained")
    panels = figure.subplots(2, len(results), sharex=True, squeeze=False)
    for column, (name, rows) in zip(panels.T, results.items(), strict=True):
        for axes, metric in zip(column, ("image_auroc", "pro"), strict=True):
            axes.set(title=f"{name}: {METRICS[metric]}", ylabel="%", xlabel="image visits")
            axes.grid(alpha=0.3)
            for number, row in enumerate(ROWS):
                _draw_row(axes, rows.get(row), metric, row, f"C{number}")
            if not axes.lines:
                axes.set_axis_off()
    handles = {line.get_label(): line for axes in panels.flat for line in axes.lines}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(ROWS))
    figure.savefig(path, metadata={"Date": None})


def _draw_row(axes, result: dict | None, metric: str, label: str, colour: str) -> None:
    if result is None or metric not in result["metrics"]:
        return
    final = 100 * result["metrics"][metric]
    measured = [r for r in result["records"] if metric in r]
    if result["last_step"] == 0:
        axes.axhline(final, color=colour, linestyle="--", label=label)
    elif measured:  # rows that differ in scoring only were not measured on the way
        a_step = VISITS / result["last_step"]
        points = [(r["step"] * a_step, 100 * r[metric]) for r in measured]
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3, label=label)


def main() -> int:
    """Trains, prints and draws; returns how many sets failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for place in ("mvtec", "tile", "textures"):
        parser.add_argument(f"--{place}", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    options = parser.parse_args()
    failed, results = 0, {}
    for name in options.sets.split(","):
        workdir = options.out / name.replace(" ", "_")
        trained = command(name, options.rows.split(","), workdir, vars(options))
        failed += subprocess.run(trained).returncode != 0
        found = {row: read_row(workdir / row) for row in ROWS}
        results[name] = {row: result for row, result in found.items() if result is not None}
    print_table(results)
    draw(results, options.out / "study.svg")
    return failed


if __name__ == "__main__":
    sys.exit(main())
