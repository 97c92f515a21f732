"""Every kind of file that users give: valid ones to begin with, how they change, who reads them."""

import shutil
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np

from benchmarks import fuzz_seeds as seeds
from benchmarks import mutations
from benchmarks.mutations import Mutate
from tests.weights import pth


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
      name: the file's name.
      seeds: makes valid contents, given a directory with ``prepare``'s run.
      mutate: changes them.
      read: reads a file, given the directory of the run; what it raises beside UserError is a
        finding, and so is AssertionError for what it gives.
      prepared: whether it needs a run that has been trained.
    """

    name: str
    seeds: Callable[[Path], list[bytes]]
    mutate: Mutate
    read: Callable[[Path, Path], object]
    prepared: bool = False


def _pickles(layout: str) -> Kind:
    """Changes opcodes only: what is around the pickle stays whole."""
    view = b"N" if layout == "legacy" else b""
    storage = pth.storage(view=view)
    seed = pth.state_dict(w=pth.tensor(storage), v=pth.tensor(storage, 1, (3,), (1,)))

    def mutate(random: Random, seeds: list[bytes]) -> bytes:
        program = mutations.pickle_of(random, seed)
        return seeds[0].replace(seed, program) if layout == "legacy" else program

    def read(path: Path, _: Path) -> None:
        if layout == "zip":
            pth.write_zip(path, path.read_bytes())
        _read_weights(path, path)

    def seeds(directory: Path) -> list[bytes]:
        if layout == "zip":
            return [seed]
        return [pth.write_legacy(directory / "seed.pth", seed).read_bytes()]

    return Kind("w.pth", seeds, mutate, read)


def _read_weights(path: Path, _: Path) -> None:
    from dtsnet_jax.weights.state_dict import read_state_dict

    arrays, total = read_state_dict(path), path.stat().st_size
    for name, array in arrays.items():
        root = array
        while isinstance(root, np.ndarray) and root.base is not None:
            root = root.base
        if isinstance(root, bytes) and array.size:
            low, high = np.lib.array_utils.byte_bounds(array)
            start, end = np.lib.array_utils.byte_bounds(np.frombuffer(root, np.uint8))
            assert start <= low <= high <= end, f"'{name}' reads beyond its storage"
        assert array.nbytes <= total, f"'{name}' is larger than the file"
        array.tobytes()


def _read_image(path: Path, _: Path) -> None:
    from data.images import decode_image, find_bit_depth
    from data.options import PixelOptions

    options = PixelOptions(size=(32, 32), max_megapixels=4.0)
    assert decode_image(path, options).shape == (1, 32, 32, 3)
    find_bit_depth([path], options)


def _read_mask(path: Path, run: Path) -> None:
    from data.masks import open_mask

    image = run / "parts" / "normal" / "0.png"
    assert open_mask(path, image, invert=False).shape == seeds.SIZE


def _read_table(path: Path, _: Path) -> None:
    from data.layouts import table

    for category in table.categories(path):
        table.read(path, category, held_back=0.2, held_back_by="group")


def _sometimes(path: Path) -> bool:
    """Whether a file is one of the few that are tried in what takes long."""
    return zlib.crc32(path.read_bytes()) % 32 == 0


def _read_config(path: Path, _: Path) -> None:
    from dtsnet_jax.checks import check_config
    from dtsnet_jax.run import Run

    check_config(Run(path.parent).config())


def _read_seed_run(path: Path, run: Path) -> None:
    from dtsnet_jax.report.page import write_page
    from dtsnet_jax.report.table import results_text
    from dtsnet_jax.results import summarize_run
    from dtsnet_jax.run import Run
    from dtsnet_jax.seed_run import SeedRun
    from dtsnet_jax.training.records import read_records

    seed_run = SeedRun(path.parents[2], "parts", 1)
    read_records(seed_run.directory)
    seed_run.check_unchanged({}, 10**9)
    result = seed_run._read_result()
    if result is not None:
        report = summarize_run(Run(run / "knn").config(), {"parts": [result]})
        results_text(report)
        if _sometimes(path):
            write_page({"parts": report}, {"parts": path.parent}, path.parent)


def _read_predictions(path: Path, _: Path) -> None:
    from dtsnet_jax.prediction.log import PredictionLog
    from dtsnet_jax.report.predictions import write_predictions_page

    with PredictionLog(path.parent, "x") as log:
        if _sometimes(path):
            write_predictions_page(path.parent, log.rows, {})


def _read_bank(path: Path, _: Path) -> None:
    from dtsnet_jax.detectors.neighbors import read_bank

    read_bank(path)


def _read_detector(path: Path, _: Path) -> None:
    from dtsnet_jax import Detector
    from dtsnet_jax.prediction.saved import read_detector

    read_detector(path)
    if _sometimes(path):
        Detector.load(path)


@cache
def _state_shapes():
    from tests.helpers import abstract_state

    return abstract_state()


def _weights(checkpoint: Path) -> list[np.ndarray]:
    import jax

    from dtsnet_jax.training.checkpoints import load_weights

    weights = load_weights(checkpoint.parent, int(checkpoint.name), _state_shapes())
    return jax.tree.leaves(weights)


def _checkpoint(name: str) -> Kind:
    """One of the files of a checkpoint that those who score read."""
    written = cache(_weights)

    def read(path: Path, run: Path) -> None:
        (whole,) = (run / "student+knn" / CHECKPOINTS).iterdir()
        damaged = path.with_suffix(".d") / whole.name
        shutil.copytree(whole, damaged, dirs_exist_ok=True)
        (file,) = damaged.glob(name)
        file.write_bytes(path.read_bytes())
        same = map(np.array_equal, _weights(damaged), written(whole))
        assert all(same), "other weights than were written"

    files = seeds.of_run(f"{CHECKPOINTS}/*/{name}")
    return Kind("checkpoint", files, mutations.bytes_of, read, True)


CHECKPOINTS = "parts/seed-111/checkpoints"
_DETECTOR = seeds.of_run("parts/seed-111/detector.safetensors")
_LINES = seeds.of_run("parts/seed-111/metrics.jsonl")
KINDS = {
    "pickle-zip": _pickles("zip"),
    "pickle-legacy": _pickles("legacy"),
    "pth-zip": Kind("w.pth", seeds.weights("zip"), mutations.bytes_of, _read_weights),
    "pth-legacy": Kind("w.pth", seeds.weights("legacy"), mutations.bytes_of, _read_weights),
    "safetensors": Kind(
        "w.safetensors", seeds.safetensors_files, mutations.safetensors_of, _read_weights
    ),
    **{
        f"image-{suffix}": Kind(f"i.{suffix}", seeds.images(suffix), mutations.png_of, _read_image)
        for suffix in seeds.FORMATS
    },
    **{
        f"mask-{suffix}": Kind(
            f"m.{suffix}", seeds.images(suffix), mutations.png_of, _read_mask, True
        )
        for suffix in ("png", "tif", "bmp")
    },
    "labelme": Kind("m.json", seeds.labelme, mutations.json_of, _read_mask, True),
    "coco": Kind("m.json", seeds.coco, mutations.json_of, _read_mask, True),
    "table": Kind("t.csv", seeds.table, mutations.bytes_of, _read_table, True),
    "config": Kind(
        "config.json", seeds.of_run("config.json"), mutations.json_of, _read_config, True
    ),
    "result": Kind(
        "parts/seed-1/result.json",
        seeds.of_run("parts/seed-111/result.json"),
        mutations.json_of,
        _read_seed_run,
        True,
    ),
    "record": Kind(
        "parts/seed-1/made_from.json",
        seeds.of_run("parts/seed-111/made_from.json"),
        mutations.json_of,
        _read_seed_run,
        True,
    ),
    "metrics": Kind("parts/seed-1/metrics.jsonl", _LINES, mutations.json_of, _read_seed_run, True),
    "predictions": Kind(
        "predictions.jsonl", seeds.predictions, mutations.json_of, _read_predictions
    ),
    "bank": Kind(
        "bank.npz", seeds.of_run("parts/seed-111/bank.npz"), mutations.bytes_of, _read_bank, True
    ),
    "detector": Kind("d.safetensors", _DETECTOR, mutations.safetensors_of, _read_detector, True),
    "checkpoint-tree": _checkpoint("weights/_METADATA"),
    "checkpoint-index": _checkpoint("weights/manifest.ocdbt"),
    "checkpoint-sums": _checkpoint("checksums/_METADATA"),
    "checkpoint-data": _checkpoint("weights/ocdbt.process_0/d/*"),
}
