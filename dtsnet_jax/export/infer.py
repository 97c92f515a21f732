"""Scores photographs with an exported detector; needs Python 3.11, onnxruntime, numpy and pillow.

    python infer.py IMAGES... [--out predictions.csv] [--false_alarms=0.01] [--review=0.05]

IMAGES are files, folders and patterns. In Python:
``score, map, decision, *more = Detector(FOLDER)(PATH)``. This file is complete in itself; it lies
in the folder with model.onnx and detector.json.
"""

import argparse
import base64
import csv
import glob
import hashlib
import io
import json
import math
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from PIL import ExifTags, Image

Image.MAX_IMAGE_PIXELS = None  # the limit of detector.json takes its place

FORMAT = 1  # of detector.json
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".jp2", ".j2k"}
    | {".pgm", ".ppm", ".pbm"}
)
COLUMNS = (
    "file", "category", "at", "score", "p_value", "decision", "unusual", "clipped", "drift",
    "picture", "error", "regions", "left", "upper", "right", "lower", "area", "peak",
)  # fmt: skip
OWN_FILES = ("model.onnx", "detector.json", "infer.py", "README.md")
INTERRUPTED = 130  # the exit code that shells have for Ctrl-C
MOST_REGIONS = 20
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
TIFF_BITS, TIFF_COLOURS, TIFF_PLANES = 258, 262, 284  # tags of the TIFF 6.0 specification
DRAFT_MEGAPIXELS = 16.0  # JPEG files from here on are decoded at a fraction of their size
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class InputError(ValueError):
    """A file or an option that cannot be used; the message says why and what to do."""


class Region(NamedTuple):
    """Where a map is beyond the limit: left, upper, right, lower and area in the photograph."""

    left: int
    upper: int
    right: int
    lower: int
    area: int
    peak: float


class Prediction(NamedTuple):
    """What the detector says of a photograph.

    Attributes:
      score: larger is more anomalous.
      map: (height, width) float32, in the units of ``score``; 0 where nothing was looked at.
      decision: 'OK', 'review' or 'NG'; None where the detector has too few calibration images.
      p_value: how likely a good part is to have such a score or a larger one, or None.
      unusual: the p-value of the photograph as a whole: small where light or camera changed; None
        without calibration images.
      clipped: whether the photograph held values beyond the bit depth of training.
      regions: where the map is beyond the limit, the highest first.
    """

    score: float
    map: np.ndarray
    decision: str | None
    p_value: float | None
    unusual: float | None
    clipped: bool
    regions: list[Region]


class Placement(NamedTuple):
    """Which part of a photograph fills which part of an array: left, upper, right, lower."""

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]


class Detector:
    """An exported detector.

    Attributes:
      about: the content of detector.json.
      limits: beyond the first a photograph is for review, beyond the second NG; None where there
        are too few calibration images.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        false_alarms: float | None = None,
        review: float | None = None,
    ):
        """Loads it.

        Args:
          folder: with model.onnx and detector.json.
          false_alarms: share of good parts that may be called NG; as exported unless given.
          review: share of good parts that may be NG or for review, 0 for no review.

        Raises:
          InputError: a file is missing or not as it was exported, or a rate cannot be.
        """
        self.about, model = read_export(Path(folder))
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        rates = self.about["thresholds"]
        alarms = rates["false_alarms"] if false_alarms is None else false_alarms
        if review is None:
            review = rates["review"] and max(rates["review"], alarms)
        if not 0 < alarms < 1 or (review != 0 and not alarms <= review < 1):
            raise InputError(
                f"false_alarms is {alarms} and review {review}, expected numbers between 0 and 1, "
                "the second no smaller than the first, or 0 for no review."
            )
        calibration = self.about["calibration"]
        self._scores, peaks, self._oddness = (
            np.sort(np.array(calibration[name], np.float64))
            for name in ("scores", "peaks", "oddness")
        )
        self.limits, self._peaks = (
            find_limits(values, alarms, review) for values in (self._scores, peaks)
        )
        self._pixels = self.about["pixels"]
        self._size = self._pixels["height"], self._pixels["width"]
        region = self.about["region"]
        if region is not None:
            region = np.asarray(Image.open(io.BytesIO(base64.b64decode(region))).convert("L")) > 0
        self._region = region

    def __call__(self, photograph: str | Path | np.ndarray) -> Prediction:
        """Scores a photograph.

        Args:
          photograph: its file, or RGB bytes (height, width, 3).

        Raises:
          InputError: it cannot be used.
        """
        if isinstance(photograph, np.ndarray):
            if photograph.dtype != np.uint8 or photograph.shape[2:] != (3,) or not photograph.size:
                raise InputError(
                    f"the photograph is an array {photograph.shape} of {photograph.dtype}, "
                    "expected (height, width, 3) of uint8."
                )
            image, clipped, size = Image.fromarray(photograph), False, photograph.shape[:2]
        else:
            image, clipped, size = open_photograph(Path(photograph), self._pixels)
        if self._region is not None and self._region.shape != tuple(size):
            raise InputError(
                f"the photograph is {size[1]}×{size[0]} pixels, but the region of interest is "
                f"{self._region.shape[1]}×{self._region.shape[0]}."
            )
        placements = place(size, self._pixels)
        score_map, features = self._answer(image, size, placements)
        if self._pixels["tile_size"]:
            (height, width), tile = score_map.shape, self._pixels["tile_size"]
            of = min(self._size[0], tile) * min(self._size[1], tile)
            placement = Placement((0, 0, size[1], size[0]), (0, 0, width, height))
        else:
            of, placement = None, placements[0]
        looked_at = self._looked_at(score_map.shape, size, placement)
        if not looked_at.any():
            raise InputError("the region of interest leaves nothing of the photograph to look at.")
        score = mean_of_largest(score_map[looked_at], self.about["top_share"], of)
        score_map = np.where(looked_at, score_map, np.float32(0))
        p_value = unusual = None
        if len(self._scores):
            p_value = find_p_value(score, self._scores)
            unusual = find_p_value(float(np.square(features).mean()), self._oddness)
        regions = []
        if self._peaks is not None:
            regions = find_regions(score_map, self._peaks[0], placement)
        return Prediction(score, score_map, self._decide(score), p_value, unusual, clipped, regions)

    def _decide(self, score: float) -> str | None:
        if self.limits is None:
            return None
        review, reject = self.limits
        if score <= review:
            return "OK"
        return "review" if score <= reject else "NG"

    def _answer(
        self, image: Image.Image, size: tuple[int, int], placements: list[Placement]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The map of a photograph, of tiles put together, and its features."""
        pixels, step = self._pixels, self.about["batch_size"]
        how = {"antialias": pixels["antialias"], "padding": tuple(pixels["padding"])}
        features = []
        if pixels["tile_size"]:
            stitching = Stitching(size, self._size, pixels["tile_size"])
        for start in range(0, len(placements), step):
            some = placements[start : start + step]
            arrays = [resize(image, size, one, self._size, **how) for one in some]
            batch = {"images": np.stack(arrays)}
            maps, their_features = self._session.run(["maps", "features"], batch)
            features.append(their_features)
            if not pixels["tile_size"]:
                return maps[0], their_features[0]
            for one, values in zip(some, maps, strict=True):
                stitching.add(one, values)
        return stitching.result(), np.concatenate(features).mean(axis=0)

    def _looked_at(
        self, shape: tuple[int, int], size: tuple[int, int], placement: Placement
    ) -> np.ndarray:
        """Where a map counts: inside the photograph and the region of interest."""
        left, upper, right, lower = placement.target
        inside = np.zeros(shape, bool)
        inside[upper:lower, left:right] = True
        if self._region is not None:
            coverage = Image.fromarray(self._region.astype(np.float32))
            antialias = self._pixels["antialias"] or bool(self._pixels["tile_size"])
            inside &= resize(coverage, size, placement, shape, antialias=antialias, padding=0) > 0.5
        return inside


def read_export(folder: Path) -> tuple[dict, bytes]:
    """The content of detector.json and of model.onnx, as they were exported.

    Raises:
      InputError: one is missing, of another format or changed since.
    """
    file = folder / "detector.json"
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        model = (folder / "model.onnx").read_bytes()
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"'{folder}' holds no exported detector ({error}).") from error
    found = about.get("format") if isinstance(about, dict) else None
    if found != FORMAT:
        raise InputError(
            f"'{file}' is of format {found}, but this infer.py reads format {FORMAT}; use the "
            "infer.py that was exported with it."
        )
    if content_digest(about) != about.get("sha256"):
        raise InputError(
            f"'{file}' was changed after the export; limits are set with --false_alarms and "
            "--review, not in this file: bring back the one that was exported, or export again."
        )
    digest, expected = hashlib.sha256(model).hexdigest(), about["model"]["sha256"]
    if digest != expected:
        raise InputError(
            f"'{folder / 'model.onnx'}' has the SHA-256 {digest[:16]}…, but the one that was "
            f"exported has {expected[:16]}…; export it again."
        )
    return about, model


def content_digest(about: dict) -> str:
    """The SHA-256 of what detector.json says, whatever its layout, but for the digest itself."""
    content = {name: value for name, value in about.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def open_photograph(path: Path, pixels: dict) -> tuple[Image.Image, bool, tuple[int, int]]:
    """Decodes a file as those were that the detector was trained on.

    Returns:
      8-bit RGB, large JPEG files reduced; whether values were clipped; the file's height and width.

    Raises:
      InputError: the file is missing, broken, too large or of a number format with no known range.
    """
    try:
        # Of a file by name Pillow maps some into memory, and mixes up the sides of turned ones.
        with path.open("rb") as file, Image.open(file) as image:
            if image.mode in ("P", "PA") and image.palette is None:
                raise ValueError("its palette is missing")
            return _decoded(image, path, pixels)
    except InputError:
        raise
    except Exception as error:  # of a damaged file Pillow raises many kinds
        raise InputError(f"image '{path}' cannot be decoded ({error}).") from error


def _decoded(
    image: Image.Image, path: Path, pixels: dict
) -> tuple[Image.Image, bool, tuple[int, int]]:
    megapixels = image.width * image.height / 1e6
    if megapixels > pixels["max_megapixels"]:
        raise InputError(
            f"image '{path}' has {megapixels:.1f} megapixels, more than the "
            f"{pixels['max_megapixels']:g} of 'max_megapixels' in detector.json."
        )
    if image.mode == "F":
        raise InputError(f"image '{path}' holds floating-point numbers, whose range is not known.")
    orientation = 1  # a TIFF file has been turned already when it is opened
    if image.format != "TIFF":
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    size = image.size if orientation in (5, 6, 7, 8) else image.size[::-1]
    clipped = False
    if is_deep(image, path):
        values, largest = deep_values(image, path), 2 ** pixels["bit_depth"] - 1
        clipped = bool(values.max() > largest)
        scaled = (np.minimum(values, largest).astype(np.uint32) * 255 + largest // 2) // largest
        image = Image.fromarray(scaled.astype(np.uint8))
    elif pixels["antialias"] and not pixels["tile_size"] and megapixels > DRAFT_MEGAPIXELS:
        image.draft(None, (2 * max(pixels["height"], pixels["width"]),) * 2)
    image.load()
    if orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[orientation])
    return image.convert("RGB"), clipped, size


def is_deep(image: Image.Image, path: Path) -> bool:
    """Whether a file, of which the header has been read, holds more than 8 bits a value."""
    if image.mode in DEEP_MODES:
        return True
    if image.format == "TIFF":
        return max(image.tag_v2.get(TIFF_BITS, (8,))) > 8
    if image.format == "JPEG2000":  # by the codestream's header (ISO/IEC 15444-1, A.5.1)
        with path.open("rb") as file:
            head = file.read(1 << 16)
        start = head.find(b"\xff\x4f\xff\x51")
        return 0 <= start < len(head) - 42 and (head[start + 42] & 0x7F) + 1 > 8
    settings = image.tile[0].args if image.tile else ""
    if image.format == "PPM":
        return isinstance(settings, tuple) and isinstance(settings[-1], int) and settings[-1] > 255
    return image.format == "PNG" and ";16" in str(settings)


def deep_values(image: Image.Image, path: Path) -> np.ndarray:
    """The values of a deep file as they lie in it; those that Pillow changes need OpenCV."""
    if image.mode in DEEP_MODES and image.format not in ("PPM", "JPEG2000"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise InputError(f"image '{path}' holds whole numbers beyond 16 bits.")
        return values
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if tags.get(TIFF_PLANES) == 2 or tags.get(TIFF_COLOURS) == 5:
        raise InputError(f"image '{path}' holds its 16-bit colours plane by plane or as CMYK.")
    values = opencv().imdecode(np.fromfile(path, np.uint8), opencv().IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        raise InputError(f"image '{path}' holds 16-bit values that OpenCV cannot read.")
    if values.ndim == 3 and values.shape[-1] >= 3:
        return values[..., 2::-1]  # from BGR or BGRA
    return values[..., 0] if values.ndim == 3 else values


def opencv():
    """OpenCV, which few files and detectors need."""
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            "this photograph or detector needs OpenCV: pip install opencv-python-headless."
        ) from error
    return cv2


def place(photograph: tuple[int, int], pixels: dict) -> list[Placement]:
    """What of a photograph goes where: into one array, or of one in tiles into one a tile.

    Args:
      photograph: its height and width.
      pixels: of detector.json.
    """
    height, width = photograph
    size, tile = (pixels["height"], pixels["width"]), pixels["tile_size"]
    whole, filled = (0, 0, width, height), (0, 0, size[1], size[0])
    if tile:
        if min(photograph) < tile:
            raise InputError(
                f"the photograph has {width}×{height} pixels, less than a tile of {tile}."
            )
        step = tile - pixels["tile_overlap"]
        rows, columns = ([*range(0, side - tile, step), side - tile] for side in photograph)
        return [
            Placement((left, top, left + tile, top + tile), filled)
            for top in rows
            for left in columns
        ]
    scales = size[0] / height, size[1] / width
    if pixels["fit"] == "pad":
        inner = (round(height * min(scales)), round(width * min(scales)))
        return [Placement(whole, centred(inner, size))]
    if pixels["fit"] == "crop":
        inner = (round(size[0] / max(scales)), round(size[1] / max(scales)))
        return [Placement(centred(inner, photograph), filled)]
    return [Placement(whole, filled)]


def centred(inner: tuple[int, int], outer: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box of one size in the middle of another."""
    height, width = (max(1, min(a, b)) for a, b in zip(inner, outer, strict=True))
    upper, left = (outer[0] - height) // 2, (outer[1] - width) // 2
    return left, upper, left + width, upper + height


def resize(
    image: Image.Image,
    photograph: tuple[int, int],
    placement: Placement,
    size: tuple[int, int],
    *,
    antialias: bool,
    padding: tuple[int, ...] | float,
) -> np.ndarray:
    """A part of a photograph in an array of a size.

    Args:
      image: the photograph, decoded at any size.
      photograph: its height and width in the file.
      placement: what goes where.
      size: height and width of the array.
      antialias: False resizes like OpenCV.
      padding: what stands where the photograph does not reach.
    """
    across, down = image.width / photograph[1], image.height / photograph[0]
    left, upper, right, lower = placement.source
    box = (left * across, upper * down, right * across, lower * down)
    start, top, end, bottom = placement.target
    inner = (end - start, bottom - top)
    if antialias:
        part = image.resize(inner, Image.Resampling.BILINEAR, box)
    else:
        part = np.asarray(image.crop(tuple(map(round, box))))
        part = Image.fromarray(opencv().resize(part, inner, interpolation=opencv().INTER_LINEAR))
    if inner == size[::-1]:
        return np.asarray(part)
    result = Image.new(image.mode, size[::-1], padding)
    result.paste(part, (start, top))
    return np.asarray(result)


class Stitching:
    """The maps of tiles, put together; where tiles overlap, one fades into another."""

    def __init__(self, photograph: tuple[int, int], size: tuple[int, int], tile: int):
        self._tile = tuple(min(side, tile) for side in size)
        self._scales = [side / tile for side in self._tile]
        whole = tuple(
            round((side - tile) * min(1.0, length / tile)) + min(length, tile)
            for side, length in zip(photograph, size, strict=True)
        )
        self._sum, self._weight = np.zeros(whole, np.float32), np.zeros(whole, np.float32)
        rows, columns = (
            (np.minimum(np.arange(length), np.arange(length)[::-1]) + 1).astype(np.float32) / length
            for length in self._tile
        )
        self._window = rows[:, None] * columns[None, :]

    def add(self, placement: Placement, values: np.ndarray) -> None:
        """Adds the map of a tile."""
        if values.shape != self._tile:
            shape = self._tile[::-1]
            values = np.asarray(Image.fromarray(values).resize(shape, Image.Resampling.BILINEAR))
        left, upper, _, _ = placement.source
        top, start = round(upper * self._scales[0]), round(left * self._scales[1])
        here = np.s_[top : top + self._tile[0], start : start + self._tile[1]]
        self._sum[here] += self._window * values
        self._weight[here] += self._window

    def result(self) -> np.ndarray:
        """The map of the photograph."""
        return self._sum / self._weight


def mean_of_largest(values: np.ndarray, share: float, of: int | None) -> float:
    """The mean of the largest values, a share of ``of`` or of all of them, at least one."""
    count = min(max(1, round(share * (of or values.size))), values.size)
    return float(np.partition(values, -count)[-count:].mean(dtype=np.float64))


def find_p_value(value: float, calibration: np.ndarray) -> float:
    """How likely a good photograph is to have such a value or a larger one.

    Args:
      value: of a photograph.
      calibration: of good photographs, sorted.
    """
    at_or_above = len(calibration) - int(np.searchsorted(calibration, value, side="left"))
    return (1 + at_or_above) / (len(calibration) + 1)


def find_limits(
    calibration: np.ndarray, false_alarms: float, review: float
) -> tuple[float, float] | None:
    """What good photographs exceed at the rates of review, 0 for none, and of false alarms.

    Args:
      calibration: of good photographs, sorted; None is returned where they are too few.
      false_alarms, review: the rates.
    """
    reject = find_limit(calibration, false_alarms)
    if reject is None:
        return None
    return find_limit(calibration, review) if review else reject, reject


def find_limit(calibration: np.ndarray, rate: float) -> float | None:
    """The limit at a rate: exact (conformal) or, where that needs more images, extrapolated."""
    images, tail = len(calibration), 4
    rank = math.floor(Fraction(str(rate)) * (images + 1))
    if rank:
        return float(calibration[-rank])
    if images < 10:
        return None
    threshold = calibration[-tail - 1]
    factor = ((tail + 1) / (images + 1) / rate) ** (1 / tail) - 1
    excesses = (calibration[-tail:] - threshold).sum()
    return float(max(threshold + factor * excesses, calibration[-1]))


def find_regions(score_map: np.ndarray, limit: float, placement: Placement) -> list[Region]:
    """The connected parts of a map beyond a limit, corners included, the highest ones first."""
    beyond = score_map > limit
    runs: list[tuple[int, int, int]] = []  # row, first column, column behind the last
    parents: list[int] = []
    above: range = range(0)

    def root(run: int) -> int:
        while parents[run] != run:
            run = parents[run]
        return run

    last_row = -2
    for row in np.flatnonzero(beyond.any(axis=1)).tolist():
        edges = np.flatnonzero(np.diff(beyond[row], prepend=False, append=False)).tolist()
        if row != last_row + 1:
            above = range(0)
        begun = len(runs)
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            run = len(runs)
            runs.append((row, start, stop))
            parents.append(run)
            for other in above:
                if runs[other][1] <= stop and runs[other][2] >= start:
                    first, second = sorted((root(other), root(run)))
                    parents[second] = first
        above, last_row = range(begun, len(runs)), row
    parts: dict[int, list[tuple[int, int, int]]] = {}
    for number, run in enumerate(runs):
        parts.setdefault(root(number), []).append(run)
    found = [_region(score_map, part, placement) for part in parts.values()]
    return sorted(found, key=lambda region: -region.peak)[:MOST_REGIONS]


def _region(
    score_map: np.ndarray, runs: list[tuple[int, int, int]], placement: Placement
) -> Region:
    left, upper, right, lower = placement.source
    start, top, end, bottom = placement.target
    across, down = (right - left) / (end - start), (lower - upper) / (bottom - top)
    rows, starts, stops = (np.array(values) for values in zip(*runs, strict=True))
    return Region(
        round(left + (int(starts.min()) - start) * across),
        round(upper + (int(rows.min()) - top) * down),
        round(left + (int(stops.max()) - start) * across),
        round(upper + (int(rows.max()) + 1 - top) * down),
        max(1, round(int((stops - starts).sum()) * across * down)),
        max(float(score_map[row, first:stop].max()) for row, first, stop in runs),
    )


class Drift:
    """Whether more photographs look odd than good parts and a few defective ones explain."""

    def __init__(self, about: dict | None):
        self._about, self._evidence, self._alarmed = about, 0.0, False

    def update(self, unusual: float | None) -> bool:
        """Takes the next photograph by its p-value; returns whether the alarm is raised."""
        if self._about is None or unusual is None:
            return False
        step = self._about["if_odd" if unusual < self._about["odd_below"] else "if_usual"]
        threshold = self._about["threshold"]
        self._evidence = min(max(self._evidence + step, 0.0), threshold)
        if self._evidence in (0.0, threshold):
            self._alarmed = self._evidence > 0
        return self._alarmed


def find_photographs(sources: list[str]) -> list[Path]:
    """Files, those that a pattern names, and all images below folders, as people count names.

    Links are followed; what is hidden or cannot be read is passed over.

    Raises:
      InputError: a source names nothing, or a folder holds no image.
    """
    found = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            below = sorted(images_below(path, frozenset()), key=Path.as_posix)
            if not below:
                raise InputError(f"the folder '{path}' holds no image.")
            found += sorted(below, key=as_people_count)
        elif path.exists():
            found.append(path)
        else:  # not every shell looks for what a pattern names
            named = map(Path, sorted(glob.glob(source, recursive=True)))  # noqa: PTH207
            images = [one for one in named if one.suffix.lower() in SUFFIXES and one.is_file()]
            if not images:
                raise InputError(f"'{source}' names no image; give files, folders or patterns.")
            found += sorted(images, key=as_people_count)
    return list(dict.fromkeys(found))


def images_below(folder: Path, around: frozenset[str]) -> Iterator[Path]:
    """Yields the images below a folder; real paths ``around`` it are not entered again."""
    real = os.path.realpath(folder)
    if real in around:  # a link leads back
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if os.path.isdir(path):  # noqa: PTH112 (Path's raises for names that are too long)
                yield from images_below(path, around | {real})
            elif path.suffix.lower() in SUFFIXES:
                yield path


def as_people_count(path: Path) -> list[list[str | int]]:
    """What paths are sorted by so that 9 precedes 10: folders, stem and up to two suffixes."""
    *parts, name = path.parts
    suffixes = []
    for suffix in path.suffixes[:-3:-1]:
        if len(suffix) > 5 or suffix[1:2].isdecimal():
            break
        suffixes.insert(0, suffix)
    stem = name.replace("".join(suffixes), "") if suffixes else name
    return [_counted(part) for part in (*parts, stem, *suffixes) if part]


def _counted(name: str) -> list[str | int]:
    """Text and numbers in turn, text first."""
    pieces: list[str | int] = [""]
    for piece in re.findall(r"\d+|\D", unicodedata.normalize("NFD", name)):
        if piece.isdigit():  # which ² is, too
            pieces += [unicodedata.digit(piece) if len(piece) == 1 else int(piece), ""]
        else:
            pieces[-1] += piece
    return pieces


def score_into(detector: Detector, photographs: list[Path], out: Path) -> tuple[int, int]:
    """Scores photographs into a table, in which each has its row as soon as it is scored.

    Returns:
      How many were scored and how many could not be, up to the end or to Ctrl-C.
    """
    category, drift = detector.about["category"], Drift(detector.about["drift"])
    scored = errors = 0
    with (
        out.open("w", buffering=1, newline="", encoding="utf-8", errors="surrogateescape") as file,
        suppress(KeyboardInterrupt),
    ):
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for path in photographs:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            row, rest = [str(path.absolute()), category, at], [""] * 6
            try:
                one = detector(path)
            except Exception as error:  # whatever is wrong with one file, others are scored
                errors += 1
                table.writerow([*row, None, None, None, None, False, False, None, error, 0, *rest])
                continue
            row += [one.score, one.p_value, one.decision, one.unusual, one.clipped]
            row += [drift.update(one.unusual), None, None, len(one.regions)]
            table.writerow([*row, *(one.regions[0] if one.regions else rest)])
            scored += 1
    return scored, errors


def main() -> None:
    """Scores what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="files, folders, patterns")
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"), help="the table")
    parser.add_argument("--false_alarms", type=float, help="share of good parts called NG")
    parser.add_argument("--review", type=float, help="share of good parts to be looked at; 0: none")
    options = parser.parse_args()
    try:
        rates = {"false_alarms": options.false_alarms, "review": options.review}
        out = options.out
        if not out.name or out.is_dir() or out.suffix.lower() in SUFFIXES:
            raise InputError(f"--out is '{out}', a folder or an image; give a file like table.csv.")
        folder = Path(__file__).parent
        own = (folder / name for name in OWN_FILES)
        if out.exists() and any(out.samefile(file) for file in own if file.exists()):
            raise InputError(f"--out is '{out}', a part of the detector; give another file.")
        detector = Detector(folder, **rates)
        photographs = find_photographs(options.images)
        scored, errors = score_into(detector, photographs, out)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # before the first photograph
        sys.exit(INTERRUPTED)
    print(f"{out}: {scored} photographs scored, {errors} errors")
    if left := len(photographs) - scored - errors:
        print(f"interrupted; {left} photographs were not looked at", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
