"""The study behind the README's results: variants on real sets, and how far training has to go.

    python -m benchmarks.study --mvtec=DIR --tile=DIR --textures=DTD [--sets=screw] [--rows=rd,knn]
        [--visits=64000] [--seeds=111,222]

Trains what is not trained yet, row by row, below OUT/VISITS, and draws and prints all that lies
there: it may be stopped at any time and goes on from there. DIR are MVTec AD and the magnetic tiles
of Huang, Qiu & Yuan (2020) in MVTec AD's layout; ELPV comes with requirements-demo.txt. On a CPU
every row of a set is an hour or less of one core at 10,000 visits; figures repeat to the last digit
on the same number of cores. On a GPU 64,000 visits are a few minutes.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

VISITS = 10_000
SEEDS = "111"
SETS = {  # the configuration, its flags, and how many epochs are 2,500 visits
    "bottle": ("mvtec", "data.root={mvtec} data.category=bottle data.foreground=threshold", 12),
    "screw": ("mvtec", "data.root={mvtec} data.category=screw data.foreground=threshold", 8),
    "magnetic tile": ("folder", "data.root={tile}", 4),
    "ELPV mono": ("demo", "data.category=mono", 7),
    "ELPV poly": ("demo", "data.category=poly", 5),
}
GRAY = ("screw", "magnetic tile", "ELPV mono", "ELPV poly")
ROWS = (  # the last six are the paper's weights, scored otherwise, and have no curves of their own
    *("rd", "rd_fas", "rd_fas_mff", "robust", "paper", "knn", "no_diversity", "no_foreground"),
    *("calibrated", "weighed", "level_1", "level_2", "level_3", "levels_2_3"),
)
METRICS = {"image_auroc": "I-AUROC", "pixel_auroc": "P-AUROC", "pro": "PRO"}


def command(name: str, workdir: Path, options: argparse.Namespace) -> list[str]:
    """What trains rows of a set; measured is every 2,500 visits, or a dozen times in long runs."""
    config, flags, epochs = SETS[name]
    fields = [
        *flags.format(**vars(options)).split(" "),
        f"data.textures={options.textures}",
        "data.calibration=0",
        "encoder.name=efficientnet_lite0",
        f"synthesis.gray_textures={name in GRAY}",
        "train.epochs=0",
        f"train.visits={options.visits}",
        "train.accumulate=2",
        f"train.evaluate_every={epochs * max(1, round(options.visits / 30_000))}",
        "scoring.heatmaps=False",
        f"rows={tuple(options.rows.split(','))}",
        f"seeds=({options.seeds},)",
    ]
    start = [sys.executable, "launch.py", "--config", f"configs/{config}.py:paper"]
    return [*start, "--workdir", str(workdir), *(f"--config.{field}" for field in fields)]


def read_row(directory: Path) -> list[dict] | None:
    """The results of a row's only category, one of each seed, None where it is not finished."""
    path = directory / "results.json"
    if not path.is_file():
        return None
    (category,) = json.loads(path.read_text())["categories"].values()
    return category["seeds"]


def print_table(results: dict[str, dict[str, list[dict]]]) -> None:
    """Prints I-AUROC / P-AUROC / PRO of every row by set, in percent, the mean over seeds."""
    print(f"\n| | {' | '.join(results)} |\n|---|{'---|' * len(results)}")
    for row in ROWS:
        cells = []
        for rows in results.values():
            seeds = [seed["metrics"] for seed in rows.get(row, [])]
            measured = [[100 * seed[name] for seed in seeds if name in seed] for name in METRICS]
            cell = " / ".join(f"{np.mean(values):.1f}" for values in measured if values)
            cells.append(cell + (f" ({len(seeds)} seeds)" if len(seeds) > 1 else ""))
        print(f"| `{row}` | {' | '.join(cell or '–' for cell in cells)} |")


def draw(results: dict[str, dict[str, list[dict]]], visits: int, path: Path) -> None:
    """Draws I-AUROC and PRO against image visits, a column for each set; seeds are a band."""
    figure = Figure(figsize=(4.2 * len(results), 5.6), layout="constrained")
    panels = figure.subplots(2, len(results), sharex=True, squeeze=False)
    for column, (name, rows) in zip(panels.T, results.items(), strict=True):
        for axes, metric in zip(column, ("image_auroc", "pro"), strict=True):
            axes.set(title=f"{name}: {METRICS[metric]}", ylabel="%", xlabel="image visits")
            axes.grid(alpha=0.3)
            for number, row in enumerate(ROWS):
                _draw_row(axes, rows.get(row, []), metric, row, f"C{number}", visits)
            axes.set_visible(bool(axes.lines))
            low, high = axes.get_ylim()
            low = min(low, high - 5)  # tenths of a point shall not look like much
            axes.set_ylim(low, high + (high - low) / 20)
    handles = {line.get_label(): line for axes in panels.flat for line in axes.lines}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6)
    figure.savefig(path, metadata={"Date": None})


def _draw_row(axes, seeds: list[dict], metric: str, label: str, colour: str, visits: int) -> None:
    seeds = [seed for seed in seeds if metric in seed["metrics"]]
    records = [[record for record in seed["records"] if metric in record] for seed in seeds]
    curves = [{record["step"]: 100 * record[metric] for record in seed} for seed in records]
    steps = sorted(set.intersection(*map(set, curves))) if curves else []
    if seeds and seeds[0]["last_step"] == 0:
        final = 100 * np.mean([seed["metrics"][metric] for seed in seeds])
        axes.axhline(final, color=colour, linestyle="--", label=label)
    elif steps:  # rows that differ in scoring only were not measured on the way
        at = np.array(steps) * visits / seeds[0]["last_step"]
        values = np.array([[curve[step] for step in steps] for curve in curves])
        style = {"color": colour, "marker": "o", "markersize": 3, "label": label}
        axes.plot(at, values.mean(axis=0), **style)
        axes.fill_between(at, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2)


def main() -> int:
    """Trains, prints and draws; returns how many sets failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for place in ("mvtec", "tile", "textures"):
        parser.add_argument(f"--{place}", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--visits", type=int, default=VISITS)
    parser.add_argument("--seeds", default=SEEDS)
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    options = parser.parse_args()
    if unknown := set(options.sets.split(",")) - set(SETS):
        parser.error(f"--sets has {', '.join(sorted(unknown))}; valid: {', '.join(SETS)}")
    out = options.out / str(options.visits)
    failed, results = 0, {}
    directories = {name: out / name.replace(" ", "_") for name in SETS}
    for name in options.sets.split(","):
        failed += subprocess.run(command(name, directories[name], options)).returncode != 0
    for name, directory in directories.items():
        found = {row: read_row(directory / row) for row in ROWS}
        if rows := {row: result for row, result in found.items() if result is not None}:
            results[name] = rows
    if not results:
        return failed
    print_table(results)
    draw(results, options.visits, out / "study.svg")
    return failed


if __name__ == "__main__":
    sys.exit(main())
