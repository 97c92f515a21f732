"""A detector in one file: all that scores a photograph, and nothing that only training needs.

CATEGORY/seed-N/detector.safetensors holds the arrays of the teacher and of what was learned beside
it, the scores of the calibration images, and in its header, as JSON, the settings. It may be copied
anywhere by itself.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from data.files import partial_path
from dtsnet_jax.config import read_config
from dtsnet_jax.detectors.fitted import Parts
from dtsnet_jax.errors import UserError, first_line
from dtsnet_jax.prediction.drift import Usual

FILE = "detector.safetensors"


class Calibration(NamedTuple):
    """How good photographs score.

    Attributes:
      scores: (n,) float64, of those that training has not seen; n may be 0.
      peaks: (n,) float64, the largest value of each one's map.
      features: (n, c) float32, the teacher's mean features of each.
      usual: what these features are in training images.
      typical: the median of the values of their maps.
      highest: the largest value of the maps of training images.
    """

    scores: np.ndarray
    peaks: np.ndarray
    features: np.ndarray
    usual: Usual
    typical: float
    highest: float


class SavedDetector(NamedTuple):
    """What the file holds.

    Attributes:
      config: the settings of the run.
      about: 'category', 'seed', 'step', 'bit_depth', 'teacher' (the digest of its weights),
        'made_from' (the fingerprint of what was learned), 'finished' (whether training was), and
        once it is in a file 'fingerprint', which names the content.
      parts: the arrays, see ``dtsnet_jax.detectors.fitted.Fitted``.
      calibration: of good photographs.
      region: (height, width) bool, the one region of interest of all photographs, or None.
    """

    config: ConfigDict
    about: dict
    parts: Parts
    calibration: Calibration
    region: np.ndarray | None


def save_detector(path: Path, detector: SavedDetector) -> None:
    """Writes a detector, whole or not at all.

    Raises:
      OSError: the disk is full or may not be written to.
    """
    parts = jax.tree.map(_as_dict, detector.parts, is_leaf=_is_state)
    arrays = _flatten({"parts": jax.tree.map(np.asarray, parts)})
    calibration = detector.calibration._asdict()
    calibration["usual"] = detector.calibration.usual._asdict()
    arrays |= _flatten({"calibration": jax.tree.map(np.asarray, calibration)})
    if detector.region is not None:
        arrays["region"] = detector.region
    arrays = {name: np.asarray(array, order="C") for name, array in sorted(arrays.items())}
    header = {"config": json.loads(detector.config.to_json()), "about": detector.about}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, array in arrays.items():
        digest.update(name.encode())
        digest.update(array.data)
    header["about"] = detector.about | {"fingerprint": digest.hexdigest()}
    with partial_path(path) as partial:
        partial.write_bytes(save(arrays, metadata={"detector": json.dumps(header)}))


def read_detector(path: Path) -> SavedDetector:
    """Reads a detector.

    Raises:
      UserError: the file is missing, damaged, or of another version of this program.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads(file.metadata()["detector"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"'{path}' is no detector ({first_line(error)}); give a run that was trained, or make "
            "it anew with --job=evaluate --workdir=RUN."
        ) from error
    config = read_config(header["config"], str(path))
    region = arrays.pop("region", None)
    tree = _unflatten(arrays)
    stored = tree["calibration"]
    stored |= {name: float(stored[name]) for name in ("typical", "highest")}
    calibration = Calibration(**stored | {"usual": Usual(**stored["usual"])})
    return SavedDetector(config, header["about"], tree["parts"], calibration, region)


def _is_state(tree: object) -> bool:
    return isinstance(tree, nnx.State)


def _as_dict(tree: Any) -> Any:
    """Flax's states as the dicts that they can be replaced with."""
    return nnx.to_pure_dict(tree) if _is_state(tree) else tree


def _flatten(tree: dict) -> dict[str, np.ndarray]:
    return {"/".join(map(str, keys)): leaf for keys, leaf in flatten_dict(tree).items()}


def _unflatten(arrays: dict[str, np.ndarray]) -> dict:
    """The inverse of ``_flatten``; the numbers of layers in a list are the only keys in digits."""
    return unflatten_dict(
        {
            tuple(int(key) if key.isdigit() else key for key in name.split("/")): array
            for name, array in arrays.items()
        }
    )


def find_detectors(path: Path) -> dict[str, dict[int, Path]]:
    """The files of all detectors in a run, by category and seed.

    Args:
      path: the run's directory, one of its categories or seeds, or a file.

    Raises:
      UserError: there are none.
    """
    if path.is_file():
        about = read_header(path)
        return {about["category"]: {about["seed"]: path}}
    found: dict[str, dict[int, Path]] = {}
    for depth in ("", "seed-*", "*/seed-*"):
        for file in sorted(path.glob(f"{depth}/{FILE}".lstrip("/"))):
            about = read_header(file)
            found.setdefault(about["category"], {})[about["seed"]] = file
    if not found:
        rows = sorted({file.parents[2].name for file in path.glob(f"*/*/seed-*/{FILE}")})
        where = f"; it is a table: give one of its rows, {', '.join(rows)}" if rows else ""
        raise UserError(
            f"'{path}' holds no detector ('{FILE}'){where}; train it with --job=train, or where it "
            "was trained by an earlier version, measure it with --job=evaluate."
        )
    return found


def read_header(path: Path) -> dict:
    """What ``SavedDetector.about`` says of a file, without its arrays.

    Raises:
      UserError: as for ``read_detector``.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return json.loads(file.metadata()["detector"])["about"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"'{path}' is no detector ({first_line(error)}); give a run that was trained."
        ) from error
