"""What infer.py repeats, so that it needs nothing of this package, is what the package does."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from data import catalog, geometry, images, opening, tiles
from data.options import BIT_DEPTHS, FITS, PixelOptions
from dtsnet_jax.errors import UserError
from dtsnet_jax.evaluation import scoring
from dtsnet_jax.export import infer
from dtsnet_jax.prediction import drift, limits, log, prediction, sources

SIDES = st.integers(1, 70)
SIZES = st.tuples(SIDES, SIDES)
SEEDS = st.integers(0, 2**32 - 1)
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F")
FORMATS = ("png", "jpg", "tif", "bmp", "webp", "pgm", "ppm", "jp2")
CODINGS = [name for name in FORMATS if name != "jp2" or features.check("jpg_2000")]
quick = settings(deadline=None, max_examples=100)


@st.composite
def pixel_options(draw):
    """Options, and the height and width of a photograph that they suit more often than not."""
    tile = draw(st.sampled_from((0, 0, 8, 24)))
    options = PixelOptions(
        size=draw(SIZES),
        fit=draw(st.sampled_from(FITS)),
        antialias=draw(st.booleans()),
        bit_depth=draw(st.sampled_from(BIT_DEPTHS)),
        tile_size=tile,
        tile_overlap=draw(st.integers(0, tile // 2)),
    )
    return options, draw(SIZES)


def described(options):
    """Options as detector.json has them."""
    return {
        "height": options.size[0],
        "width": options.size[1],
        "fit": options.fit,
        "antialias": options.antialias,
        "bit_depth": options.bit_depth,
        "tile_size": options.tile_size,
        "tile_overlap": options.tile_overlap,
        "max_megapixels": options.max_megapixels,
    }


def values_of(seed, shape, largest=255):
    return np.random.default_rng(seed).integers(0, largest, shape, endpoint=True)


@quick
@given(pixel_options(), SEEDS, st.sampled_from(("RGB", "F")), st.tuples(SIDES, SIDES))
def test_photographs_become_the_same_arrays(some, seed, mode, decoded):
    options, photograph = some
    pixels = described(options)
    try:
        expected = geometry.placements(photograph, options)
    except ValueError:
        with pytest.raises(infer.InputError, match="less than a tile"):
            infer.place(photograph, pixels)
        return
    found = infer.place(photograph, pixels)
    assert found == [(one.source, one.target) for one in expected]
    size = decoded if options.antialias and not options.tile_size else photograph
    values = values_of(seed, (*size, 3))
    image = Image.fromarray(values.astype(np.uint8))
    fill = images.MEAN_COLOUR
    if mode == "F":
        image, fill = Image.fromarray(values[..., 0].astype(np.float32)), 0
    for one, other in zip(found, expected, strict=True):
        array = infer.resize(
            image, photograph, one, options.size, antialias=options.antialias, padding=fill
        )
        resized = other.resize(image, antialias=options.antialias, fill=fill)
        np.testing.assert_array_equal(array, np.asarray(resized))


@quick
@given(pixel_options(), SEEDS)
def test_maps_of_tiles_are_put_together_alike(some, seed):
    options, photograph = some
    tile = options.tile_size
    if not tile or min(photograph) < tile:
        return
    expected = tiles.Stitching(photograph, options)
    found = infer.Stitching(photograph, options.size, tile)
    placements = geometry.placements(photograph, options)
    maps = np.random.default_rng(seed).random((len(placements), *options.size), np.float32)
    for one, values in zip(placements, maps, strict=True):
        expected.add(one, values)
        found.add(infer.Placement(one.source, one.target), values)
    np.testing.assert_array_equal(found.result(), expected.result())


def write_photograph(path, mode, size, seed, orientation):
    """A file of any mode that its format has; another one's where it has not."""
    depth = 2**16 - 1 if mode in ("I;16", "I") else 255
    if mode in ("I;16", "I", "F"):
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray(values_of(seed, size, depth).astype(dtype))
    else:
        image = Image.fromarray(values_of(seed, (*size, 3)).astype(np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    try:
        image.save(path, exif=exif)
    except (OSError, ValueError, TypeError, KeyError):
        image.convert("RGB").save(path, exif=exif)


def assert_read_alike(path, options):
    """Either both readers refuse a file in a sentence, or they read the same."""
    at_least = options.size if options.antialias and not options.tile_size else None
    try:
        expected = opening.open_rgb(path, options, at_least=at_least)
    except UserError:
        with pytest.raises(infer.InputError, match=r"^image '.*\.$"):
            infer.open_photograph(path, described(options))
        return
    image, clipped, size = infer.open_photograph(path, described(options))
    assert (image.mode, clipped) == ("RGB", expected.clipped)
    assert size == opening.image_size(path)[::-1]
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected.image))


@quick
@given(
    pixel_options(),
    st.sampled_from(MODES),
    st.sampled_from(CODINGS),
    SEEDS,
    st.integers(0, 9),
    st.booleans(),
)
def test_files_are_decoded_alike(some, mode, coding, seed, orientation, damaged):
    options, size = some
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"photograph.{coding}"
        write_photograph(path, mode, size, seed, orientation)
        if damaged:
            content = bytearray(path.read_bytes())
            generator = np.random.default_rng(seed)
            for place in generator.integers(0, len(content), 3):
                content[place] = generator.integers(256)
            path.write_bytes(content[: generator.integers(1, 2 * len(content))])
        assert_read_alike(path, options)


@quick
@given(pixel_options(), SEEDS, st.sampled_from(("png", "tif", "ppm")))
def test_deep_colours_are_decoded_alike(some, seed, coding):
    options, size = some
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"photograph.{coding}"
        cv2.imwrite(str(path), values_of(seed, (*size, 3), 2**16 - 1).astype(np.uint16))
        assert_read_alike(path, options)


@quick
@given(
    st.lists(st.floats(0, 100), min_size=0, max_size=150),
    st.floats(0.001, 0.999).map(lambda rate: round(rate, 3)),
    st.floats(0, 0.999),
    st.floats(-1, 101),
)
def test_scores_mean_the_same(calibration, alarms, more, score):
    review = 0.0 if more < 0.2 else alarms + (0.999 - alarms) * more
    calibration = np.sort(np.array(calibration, np.float64))
    expected = limits.find_limits(calibration, false_alarms=alarms, review=review)
    found = infer.find_limits(calibration, alarms, review)
    assert found == (expected and (expected.review.score, expected.reject.score))
    p_value = infer.find_p_value(score, calibration)
    assert p_value == limits.p_values(np.float64(score), calibration)


@quick
@given(st.integers(1, 5000), SEEDS, st.sampled_from((0.0, 0.01, 0.3, 1.0)), st.none() | SIDES)
def test_scores_of_maps_are_the_same(pixels, seed, share, of):
    values = np.random.default_rng(seed).random(pixels, np.float32)
    expected = scoring.mean_of_largest(values, share, of=of)
    assert infer.mean_of_largest(values, share, of) == expected


@quick
@given(SIZES, SEEDS, st.floats(0, 1), pixel_options())
def test_regions_are_the_same(size, seed, limit, some):
    options, photograph = some
    score_map = np.random.default_rng(seed).random(size, np.float32)
    place = geometry.place(photograph, size, options.fit)
    expected = prediction.find_regions(score_map, limit, place)
    found = infer.find_regions(score_map, limit, infer.Placement(place.source, place.target))
    assert [(one[:4], *one[4:]) for one in found] == [tuple(one) for one in expected]


@quick
@given(st.integers(1, 200), st.lists(st.none() | st.floats(0, 1, exclude_min=True), max_size=120))
def test_drift_is_told_alike(calibration_images, unusual):
    ours = drift.DriftTest(calibration_images)
    found = infer.Drift(ours.rule._asdict())
    for p_value in unusual:
        if p_value is not None:
            ours.update(p_value)
        assert found.update(p_value) == (ours.alarmed and p_value is not None)


NAMES = st.text(st.sampled_from("aB1290²٣.é\u0301_- "), min_size=1, max_size=8)
SOME_FILES = st.lists(
    st.tuples(st.lists(NAMES, max_size=2), NAMES, st.sampled_from((".png", ".JPG", ".b.tif"))),
    min_size=1,
    max_size=12,
)


@quick
@given(SOME_FILES)
def test_photographs_of_a_folder_come_in_the_same_order(files):
    with tempfile.TemporaryDirectory() as directory:
        for folders, stem, suffix in files:
            path = Path(directory, *(name.strip(".") or "x" for name in folders), stem + suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        Path(directory, "back").symlink_to(directory)
        if any(not stem.startswith(".") for _, stem, _ in files):
            assert infer.find_photographs([directory]) == sources.find_images(directory)
        else:
            with pytest.raises(infer.InputError, match="holds no image"):
                infer.find_photographs([directory])


def test_constants_are_the_same():
    assert infer.SUFFIXES == catalog.IMAGE_SUFFIXES
    assert infer.COLUMNS == log._COLUMNS
    assert infer.MOST_REGIONS == prediction.MOST
    assert infer.DRAFT_MEGAPIXELS == opening._DRAFT_MEGAPIXELS
    assert set(infer.DEEP_MODES) == set(opening._DEEP_MODES)
    assert infer.UPRIGHT == opening._UPRIGHT
