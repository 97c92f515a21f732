"""A detector in one file: all that scores a photograph, and nothing that only training needs.

CATEGORY/seed-N/detector.safetensors holds the arrays of the teacher and of what was learned beside
it, the scores of the calibration images, and in its header, as JSON, the settings. It may be copied
anywhere by itself.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from configs import default
from data.files import partial_path, read_json
from data.forms import find_mismatch
from dtsnet_jax.checks import check_config
from dtsnet_jax.config import with_settings
from dtsnet_jax.detectors.fitted import Parts
from dtsnet_jax.errors import UserError, first_line, unknown_name
from dtsnet_jax.fingerprint import scoring_settings, training_settings
from dtsnet_jax.prediction.content import HEADER_FORM, check_content, flatten, unflatten
from dtsnet_jax.prediction.drift import Usual
from dtsnet_jax.prediction.limits import check_rates
from dtsnet_jax.run import CONFIG_FILE, CONFIG_FORM
from dtsnet_jax.seed_run import DETECTOR_FILE

_DAMAGES = (OSError, SafetensorError, KeyError, MemoryError, RecursionError, TypeError, ValueError)


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
      about: 'category', 'seed' (None where several are joined), 'step', 'bit_depth', 'teacher' (the
        digest of its weights), 'made_from' (the fingerprint of what was learned), 'finished'
        (whether training was), and once it is in a file 'fingerprint', which names the content.
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
    calibration = detector.calibration._asdict()
    calibration["usual"] = detector.calibration.usual._asdict()
    arrays = flatten({"parts": detector.parts, "calibration": calibration})
    if detector.region is not None:
        arrays["region"] = detector.region
    arrays = {name: np.asarray(array, order="C") for name, array in sorted(arrays.items())}
    header = {"config": json.loads(detector.config.to_json()), "about": detector.about}
    settings = training_settings(detector.config) | scoring_settings(detector.config)
    digest = hashlib.sha256(json.dumps([settings, detector.about], sort_keys=True).encode())
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
    with _reading(path) as file:
        header = _header(file)
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        check_content(arrays, header["about"])
        region = arrays.pop("region", None)
        tree = unflatten(arrays)
        stored = tree["calibration"]
        stored |= {name: float(stored[name]) for name in ("typical", "highest")}
        calibration = Calibration(**stored | {"usual": Usual(**stored["usual"])})
    # What is newer than the file is as it was before.
    config = with_settings(default.get_config(), header["config"], str(path))
    try:
        check_config(config)
    except UserError as error:
        raise UserError(f"'{path}': {error}") from error
    return SavedDetector(config, header["about"], tree["parts"], calibration, region)


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Opens a detector's file; arrays are read when they are asked for.

    Raises:
      UserError: it is missing or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except _DAMAGES as error:
        raise UserError(
            f"'{path}' is no detector ({first_line(error)}); give a run that was trained, or make "
            "it anew with --job=evaluate --workdir=RUN (an ensemble: --job=ensemble)."
        ) from error


def _header(file: Any) -> dict:
    """The 'config' and 'about' of an open file."""
    header = json.loads(file.metadata()["detector"])
    if mismatch := find_mismatch(header, HEADER_FORM):
        raise ValueError(f"of its header, {mismatch}")
    return header


def _read_header(path: Path) -> dict:
    with _reading(path) as file:
        return _header(file)


def find_detectors(path: Path) -> dict[str, dict[int | None, Path]]:
    """The files of all detectors in a run, by category and seed.

    Args:
      path: the run's directory, one of its categories or seeds, or a file.

    Raises:
      UserError: there are none.
    """
    if path.is_file():
        about = _read_header(path)["about"]
        return {about["category"]: {about["seed"]: path}}
    found: dict[str, dict[int | None, Path]] = {}
    for depth in ("", "seed-*/", "*/seed-*/"):
        for file in sorted(path.glob(f"{depth}{DETECTOR_FILE}")):
            about = _read_header(file)["about"]
            found.setdefault(about["category"], {})[about["seed"]] = file
    if not found:
        raise UserError(
            f"'{path}' holds no detector ('{DETECTOR_FILE}'); train it with --job=train, or where "
            "it is a row of a table, make it with --job=evaluate --workdir=TABLE/ROW."
        )
    return found


class Choice(NamedTuple):
    """One of the detectors of a run.

    Attributes:
      file: where it lies.
      fingerprint: of its content.
      false_alarms, review: the rates that decide, as ``threshold.false_alarms`` and
        ``threshold.review``.
    """

    file: Path
    fingerprint: str
    false_alarms: float
    review: float


def choose_detectors(
    path: Path,
    *,
    category: str | None = None,
    seed: int | None = None,
    false_alarms: float | None = None,
    review: float | None = None,
    kept: Mapping[str, dict[str, float]] = MappingProxyType({}),
) -> dict[str, Choice]:
    """Chooses a detector for every category of a run.

    Args:
      path: as for ``find_detectors``.
      category: the only one that is wanted; all unless given.
      seed: which one of several; the run's first unless given.
      false_alarms: share of good parts that may be called NG; the run's unless given.
      review: share of good parts that may be called NG or review, 0 for no review; the run's
        unless given, but no less than ``false_alarms``.
      kept: both rates of some categories, which take the place of the run's.

    Raises:
      UserError: there is none, or none of the category or seed, or the rates cannot be.
    """
    found = find_detectors(path)
    if category is not None and category not in found:
        raise unknown_name("category", category, found)
    settings = read_json(path / CONFIG_FILE, CONFIG_FORM) or {}
    chosen = {}
    for name in sorted(found) if category is None else [category]:
        seeds = found[name]
        if seed is not None and seed not in seeds:
            raise unknown_name("seed", seed, seeds)
        first = next((one for one in settings.get("seeds", ()) if one in seeds), min(seeds))
        file = seeds[first if seed is None else seed]
        header = _read_header(file)
        rates = kept.get(name) or settings.get("threshold") or header["config"]["threshold"]
        alarms = rates["false_alarms"] if false_alarms is None else false_alarms
        looked_at = review
        if review is None:
            looked_at = rates["review"] and max(rates["review"], alarms)
        check_rates(alarms, looked_at)
        chosen[name] = Choice(file, header["about"]["fingerprint"], alarms, looked_at)
    return chosen


def choose_detector(path: Path, **wanted: Any) -> Choice:
    """Chooses the only detector of a run that is wanted; its arguments are ``choose_detectors``'s.

    Raises:
      UserError: there is none, or one of several categories.
    """
    choices = choose_detectors(path, **wanted)
    if len(choices) > 1:
        raise UserError(
            f"'{path}' has the categories {', '.join(choices)}; name the one that is wanted."
        )
    return next(iter(choices.values()))
