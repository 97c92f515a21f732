"""Valid files of every kind that users give, to be damaged."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy
from PIL import Image

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


def weights(layout: str) -> Callable[[Path], list[bytes]]:
    """State dicts in a layout of PyTorch's."""

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


def safetensors_files(_: Path) -> list[bytes]:
    """Two sets of arrays."""
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, np.int64)}
    return [safetensors.numpy.save(arrays), safetensors.numpy.save({"c": np.float16([1.5])})]


def images(suffix: str) -> Callable[[Path], list[bytes]]:
    """An image of every mode that a format has."""

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


def labelme(_: Path) -> list[bytes]:
    """One file with shapes of several kinds."""
    box = (4, 5, 20, 22)
    shapes = [layouts.shape("polygon", layouts.corners(box)), layouts.labelme_bitmap(box)]
    shapes += [
        layouts.shape("circle", [[9, 9], [9, 14]]),
        layouts.shape("rectangle", [[1, 1], [5, 5]]),
    ]
    return [layouts.labelme("0.png", *shapes, size=SIZE[::-1]).encode()]


def coco(_: Path) -> list[bytes]:
    """A file for each way that COCO has of marking."""
    kinds = ("polygon", "runs", "compressed runs", "box")
    return [
        layouts.coco_file({"0.png": (4, 5, 20, 22), "1.png": (1, 2, 3, 4)}, k).encode()
        for k in kinds
    ]


def table(run: Path) -> list[bytes]:
    """The same table with each separator."""
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


def of_run(name: str) -> Callable[[Path], list[bytes]]:
    """The files of a name or pattern in the runs that ``prepare`` has trained."""

    def seeds(run: Path) -> list[bytes]:
        files = (file for detector in DETECTORS for file in (run / detector).glob(name))
        return [file.read_bytes() for file in files]

    return seeds


def predictions(_: Path) -> list[bytes]:
    """A header and two lines."""
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
