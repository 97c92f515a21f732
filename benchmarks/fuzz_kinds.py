"""Every kind of file that users give: valid ones to begin with, how they change, who reads them."""

import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import safetensors.numpy
from PIL import Image

from benchmarks import mutations
from benchmarks.mutations import Mutate
from tests.data import layouts
from tests.weights import pth

DETECTORS = ("student+knn", "knn")
SIZE = (40, 48)  # of all images and masks
FORMATS = {
    "png": (("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), {}),
    "jpg": (("L", "RGB", "CMYK"), {}),
    "tif": (("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "I"), {}),
    "tiff": (("L", "RGB", "I;16"), {"compression": "tiff_lzw"}),
    "bmp": (("1", "L", "P", "RGB"), {}),
    "webp": (("RGB", "RGBA"), {"lossless": True}),
    "jp2": (("L", "RGB", "I;16"), {}),
    "pgm": (("1", "L", "RGB", "I"), {}),
}


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


def prepare(directory: Path) -> None:
    """Trains a small detector of each kind, and writes images and masks that files refer to."""
    from dtsnet_jax.jobs.train import train
    from tests.helpers import photograph, small_config

    for index in range(10):
        layouts.save(photograph(index), directory / "parts" / "normal" / f"{index}.png")
    for index in range(2):
        layouts.save(photograph(100 + index), directory / "parts" / "defective" / f"{index}.png")
        mask = Image.fromarray(np.eye(*SIZE, dtype=np.uint8))
        layouts.save(mask, directory / "parts" / "masks" / f"{index}.png")
    for detector in DETECTORS:
        changes = {"train__epochs": 1, "data__calibration": 0.3, "knn__coreset_size": 20}
        config = small_config(directory / "parts", detector=detector, **changes)
        train(config, directory / detector)


def _weights(layout: str) -> Callable[[Path], list[bytes]]:
    def seeds(directory: Path) -> list[bytes]:
        view = b"N" if layout == "legacy" else b""
        storage = pth.storage(view=view)
        programs = [
            pth.state_dict(w=pth.tensor(storage), t=pth.tensor(storage, 0, (2, 2), (1, 2))),
            pth.state_dict(state_dict=pth.state_dict(w=pth.tensor(storage))[2:-1], epoch=b"K\x03"),
        ]
        path = directory / "seed.pth"
        return [pth.LAYOUTS[layout](path, program).read_bytes() for program in programs]

    return seeds


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


def _safetensors(_: Path) -> list[bytes]:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, np.int64)}
    return [safetensors.numpy.save(arrays), safetensors.numpy.save({"c": np.float16([1.5])})]


def _images(suffix: str) -> Callable[[Path], list[bytes]]:
    def seeds(_: Path) -> list[bytes]:
        modes, options = FORMATS[suffix]
        values = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
        name = {"jpg": "jpeg", "tif": "tiff", "jp2": "jpeg2000", "pgm": "ppm"}.get(suffix, suffix)
        result = []
        for mode in modes:
            image = Image.fromarray(values)
            if mode.startswith("I"):
                gray = values[..., 0].astype(np.uint16 if mode == "I;16" else np.int32)
                image = Image.fromarray(gray * 16)
            exif = Image.Exif()
            exif[0x0112] = 6
            with io.BytesIO() as buffer:
                extra = {"exif": exif} if suffix in ("jpg", "webp") else {}  # turned by 90°
                image.convert(mode).save(buffer, name, **options, **extra)
                result.append(buffer.getvalue())
        return result

    return seeds


def _read_image(path: Path, _: Path) -> None:
    from data.images import decode_image, find_bit_depth
    from data.options import PixelOptions

    options = PixelOptions(size=(32, 32), max_megapixels=4.0)
    assert decode_image(path, options).shape == (1, 32, 32, 3)
    find_bit_depth([path], options)


def _read_mask(path: Path, run: Path) -> None:
    from data.masks import open_mask

    image = run / "parts" / "normal" / "0.png"
    assert open_mask(path, image, invert=False).shape == SIZE


def _labelme(_: Path) -> list[bytes]:
    box = (4, 5, 20, 22)
    shapes = [layouts.shape("polygon", layouts.corners(box)), layouts.labelme_bitmap(box)]
    shapes += [
        layouts.shape("circle", [[9, 9], [9, 14]]),
        layouts.shape("rectangle", [[1, 1], [5, 5]]),
    ]
    return [layouts.labelme("0.png", *shapes, size=SIZE[::-1]).encode()]


def _coco(_: Path) -> list[bytes]:
    kinds = ("polygon", "runs", "compressed runs", "box")
    return [
        layouts.coco_file({"0.png": (4, 5, 20, 22), "1.png": (1, 2, 3, 4)}, k).encode()
        for k in kinds
    ]


def _table(run: Path) -> list[bytes]:
    parts = run / "parts"
    rows = ["image,label,split,mask,group,category"]
    rows += [f"{parts}/normal/{i}.png,good,,,g{i % 3},a" for i in range(8)]
    rows += [f"{parts}/defective/{i}.png,scratch,test,{parts}/masks/{i}.png,,a" for i in range(2)]
    text = "\n".join(rows)
    return [
        text.encode(),
        text.replace(",", ";").encode(),
        text.replace(",", "\t").encode("utf-8-sig"),
    ]


def _read_table(path: Path, _: Path) -> None:
    from data.layouts import table

    for category in table.categories(path):
        table.read(path, category, held_back=0.2, held_back_by="group")


def _of_run(name: str) -> Callable[[Path], list[bytes]]:
    def seeds(run: Path) -> list[bytes]:
        files = (run / detector / name for detector in DETECTORS)
        return [file.read_bytes() for file in files if file.is_file()]

    return seeds


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
    from dtsnet_jax.training.progress import read_records

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


def _predictions(_: Path) -> list[bytes]:
    region = {"box": [1, 2, 3, 4], "area": 4, "peak": 2.5}
    row = {
        **dict.fromkeys(("bytes", "modified"), 12), "file": "/x/0.png", "category": "parts",
        "at": "2026-01-01T00:00:00+00:00", "score": 1.5, "p_value": 0.5, "decision": "NG",
        "unusual": 0.5, "clipped": False, "drift": False, "regions": [region],
        "picture": "heatmaps/0.jpg", "error": None,
    }  # fmt: skip
    nothing = dict.fromkeys(("score", "p_value", "decision", "unusual", "picture"))
    lines = [
        {"schema": 1, "fingerprint": "x"},
        row,
        row | nothing | {"error": "broken", "regions": []},
    ]
    return ["".join(json.dumps(line) + "\n" for line in lines).encode()]


def _read_bank(path: Path, _: Path) -> None:
    from dtsnet_jax.detectors.neighbors import read_bank

    read_bank(path)


def _read_detector(path: Path, _: Path) -> None:
    from dtsnet_jax import Detector
    from dtsnet_jax.prediction.saved import read_detector

    read_detector(path)
    if _sometimes(path):
        Detector.load(path)


_DETECTOR = _of_run("parts/seed-111/detector.safetensors")
_LINES = _of_run("parts/seed-111/metrics.jsonl")
KINDS = {
    "pickle-zip": _pickles("zip"),
    "pickle-legacy": _pickles("legacy"),
    "pth-zip": Kind("w.pth", _weights("zip"), mutations.bytes_of, _read_weights),
    "pth-legacy": Kind("w.pth", _weights("legacy"), mutations.bytes_of, _read_weights),
    "safetensors": Kind("w.safetensors", _safetensors, mutations.safetensors_of, _read_weights),
    **{
        f"image-{suffix}": Kind(f"i.{suffix}", _images(suffix), mutations.png_of, _read_image)
        for suffix in FORMATS
    },
    **{
        f"mask-{suffix}": Kind(f"m.{suffix}", _images(suffix), mutations.png_of, _read_mask, True)
        for suffix in ("png", "tif", "bmp")
    },
    "labelme": Kind("m.json", _labelme, mutations.json_of, _read_mask, True),
    "coco": Kind("m.json", _coco, mutations.json_of, _read_mask, True),
    "table": Kind("t.csv", _table, mutations.bytes_of, _read_table, True),
    "config": Kind("config.json", _of_run("config.json"), mutations.json_of, _read_config, True),
    "result": Kind(
        "parts/seed-1/result.json",
        _of_run("parts/seed-111/result.json"),
        mutations.json_of,
        _read_seed_run,
        True,
    ),
    "record": Kind(
        "parts/seed-1/made_from.json",
        _of_run("parts/seed-111/made_from.json"),
        mutations.json_of,
        _read_seed_run,
        True,
    ),
    "metrics": Kind("parts/seed-1/metrics.jsonl", _LINES, mutations.json_of, _read_seed_run, True),
    "predictions": Kind("predictions.jsonl", _predictions, mutations.json_of, _read_predictions),
    "bank": Kind(
        "bank.npz", _of_run("parts/seed-111/bank.npz"), mutations.bytes_of, _read_bank, True
    ),
    "detector": Kind("d.safetensors", _DETECTOR, mutations.safetensors_of, _read_detector, True),
}
