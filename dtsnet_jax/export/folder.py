"""The folder that an export consists of: the model, what goes with it, and what runs it.

OUT/model.onnx      from RGB bytes to score maps, see ``dtsnet_jax.export.model``
OUT/detector.json   how photographs become bytes, and what scores mean
OUT/infer.py        scores photographs with both; a copy of ``dtsnet_jax/export/infer.py``
OUT/README.md       how to run it
"""

import base64
import hashlib
import io
import json
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from data.images import MEAN_COLOUR
from data.readers import images_licence
from dtsnet_jax.errors import UserError
from dtsnet_jax.export import infer
from dtsnet_jax.export.model import build_model
from dtsnet_jax.inputs.options import pixel_options
from dtsnet_jax.prediction.detector import Detector
from dtsnet_jax.prediction.drift import DriftTest, oddness
from dtsnet_jax.prediction.saved import Calibration, SavedDetector
from dtsnet_jax.weights.sources import licence_of

MODEL_FILE, ABOUT_FILE, README_FILE = "model.onnx", "detector.json", "README.md"
LARGEST = 2**31 - 2**20  # bytes of weights that one ONNX file can hold
LIBRARIES = ("jax", "flax", "onnx", "numpy", "pillow")
OPENCV_FOR = "for 16-bit colours, and for deep greys in PGM and JPEG 2000"
README = """# Anomaly detector: {category}

```bash
pip install {packages}
python infer.py IMAGES... --out predictions.csv
```

`IMAGES` are files, folders and patterns such as `"DIR/*.png"`. The table has a row for every
photograph: score, p-value, decision (OK, review or NG), where the defect is, or why it could not be
scored. Ctrl-C leaves the rows of those that were scored. `--false_alarms=0.01` sets the share of
good parts that may be NG, `--review=0.05` the share to be looked at, these included. OpenCV (`pip
install opencv-python-headless`) is needed {opencv}.

```python
from infer import Detector

score, score_map, decision, *more = Detector(".")("part.png")
```

`model.onnx` takes `images` (batch, {height}, {width}, 3) uint8 RGB and returns {outputs}, float32.
Other runtimes read it, too; OpenVINO has to be told `INFERENCE_PRECISION_HINT=f32`, for in
bfloat16, which it may choose by itself, limits do not hold.

`detector.json` says how photographs become such images and has the scores of good parts, from
which limits follow; `colours` are the scores that heat maps show as coldest and hottest. Neither is
to be edited: each is known by its SHA-256, and another one is refused. That tells of accidents and
of edits, not of deceit, against which the folder can be signed.

When it was exported it was compared with JAX on {images} photographs ({source}): score maps differ
by at most {maps:.1e} of their largest value, scores by {scores:.1e}.

Licences: of the teacher's weights, {teacher}; of the images that it learned from, {learned_from}.
"""


def write_folder(folder: Path, saved: SavedDetector, detector: Detector) -> dict:
    """Writes all but the README, which tells what ``finish_folder`` is told.

    Args:
      folder: an empty directory.
      saved: the detector.
      detector: the same one, with the limits that it is exported with.

    Returns:
      The content of detector.json, for ``finish_folder``.

    Raises:
      UserError: ONNX cannot hold the detector.
    """
    model = build_model(saved)
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if size > LARGEST:
        raise UserError(
            f"the weights have {size / 2**30:.1f} GiB, more than the 2 that an ONNX file can hold; "
            "train with a smaller --config.knn.coreset_size or --config.encoder.name, or export "
            "one seed of an ensemble."
        )
    content = model.SerializeToString()
    (folder / MODEL_FILE).write_bytes(content)
    about = _describe(saved, detector)
    about["model"] = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "outputs": [output.name for output in model.graph.output],
    }
    _write_about(folder, about)
    shutil.copyfile(infer.__file__, folder / "infer.py")
    return about


def finish_folder(folder: Path, about: dict, verified: dict) -> None:
    """Adds how much the model differs from JAX.

    Args:
      folder: of ``write_folder``.
      about: what that returned.
      verified: of ``dtsnet_jax.export.verify.compare``.
    """
    _write_about(folder, about | {"verified": verified})
    antialias = about["pixels"]["antialias"]
    text = README.format(
        category=about["category"],
        packages="onnxruntime numpy pillow" + ("" if antialias else " opencv-python-headless"),
        opencv=OPENCV_FOR if antialias else "to resize photographs, and " + OPENCV_FOR,
        height=about["pixels"]["height"],
        width=about["pixels"]["width"],
        outputs=", ".join(f"`{name}`" for name in about["model"]["outputs"]),
        images=verified["images"],
        source=verified["source"],
        maps=verified["maps"]["relative"],
        scores=verified["scores"]["relative"],
        teacher=about["licences"]["teacher"],
        learned_from=about["licences"]["images"],
    )
    (folder / README_FILE).write_text(text, encoding="utf-8")


def _write_about(folder: Path, about: dict) -> None:
    about = about | {"sha256": infer.content_digest(about)}
    text = json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / ABOUT_FILE).write_text(text + "\n", encoding="utf-8")


def _describe(saved: SavedDetector, detector: Detector) -> dict:
    config, calibration = saved.config, saved.calibration
    pixels = asdict(pixel_options(config, bit_depth=saved.about["bit_depth"]))
    height, width = pixels.pop("size")
    del pixels["largest_scale"]  # of training alone
    cold, hot = detector.scale
    return {
        "format": infer.FORMAT,
        "category": saved.about["category"],
        "seed": saved.about["seed"],
        "detector": config.detector,
        "backbone": config.encoder.name,
        "fingerprint": saved.about["fingerprint"],
        "pixels": {"height": height, "width": width, **pixels, "padding": MEAN_COLOUR},
        "region": _png(saved.region),
        "batch_size": config.scoring.batch_size,
        "top_share": config.scoring.top_share,
        "thresholds": {"false_alarms": detector.false_alarms, "review": detector.review},
        "colours": {"coldest": cold, "hottest": hot},
        "drift": _drift(len(calibration.scores)),
        "calibration": _calibration(calibration),
        "licences": {
            "teacher": licence_of(config.encoder.name, config.encoder.weights),
            "images": images_licence(config.data.name),
        },
        # ONNX Runtime is in packages of several names, as onnxruntime-gpu.
        "versions": {
            "onnxruntime": onnxruntime.__version__,
            **{library: version(library) for library in LIBRARIES},
        },
    }


def _calibration(calibration: Calibration) -> dict[str, list[float]]:
    odd = oddness(calibration.features, calibration.usual)
    values = {"scores": calibration.scores, "peaks": calibration.peaks, "oddness": odd}
    return {name: array.tolist() for name, array in values.items()}


def _drift(images: int) -> dict | None:
    """What ``DriftTest`` goes by; None without calibration images."""
    return DriftTest(images).rule._asdict() if images else None


def _png(region: np.ndarray | None) -> str | None:
    """A region of interest as the base64 of a PNG file."""
    if region is None:
        return None
    buffer = io.BytesIO()
    Image.fromarray(region).save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
