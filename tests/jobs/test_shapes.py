"""Runs on photographs of any shape: rectangles, margins, tiles, regions of interest."""

import numpy as np
import pytest
from PIL import Image

from data.catalog import Catalog, Sample
from data.geometry import placements
from data.options import PixelOptions
from dtsnet_jax.inputs.evaluation import decode_test_images, map_frame
from dtsnet_jax.jobs.evaluate import evaluate
from dtsnet_jax.jobs.preview import preview
from dtsnet_jax.jobs.train import train
from dtsnet_jax.report.table import METRICS
from tests.helpers import only_result, photograph, scoring, seed_run, small_config, square
from tests.miniature import save

SHAPES = {
    "rectangle": {"data__image_size": (32, 64)},
    "pad": {"data__fit": "pad"},
    "crop": {"data__fit": "crop"},
    "tiles": {"data__tile_size": 24, "data__tile_overlap": 4},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_trained_measured_and_drawn(own_images, tmp_path, shape):
    config = small_config(own_images, train__epochs=1, **SHAPES[shape])
    run = tmp_path / "run"
    result = only_result(train(config, run))
    assert set(result["metrics"]) == set(METRICS)
    images = 8 * (6 if shape == "tiles" else 1)  # each of 48 × 40 pixels gives 3 × 2 tiles
    assert result["last_step"] == images // 4
    assert only_result(evaluate(config, run))["images"] == result["images"]
    picture = Image.open(seed_run(run).directory / "heatmaps" / "scratch_000.png")
    assert picture.width == 3 * 256  # the photograph's aspect, 48 × 40, three times beside itself
    assert abs(picture.height - 256 * 40 / 48) < 20  # and a line of text


def test_neighbours_look_at_tiles_too(own_images, tmp_path):
    config = small_config(own_images, detector="knn", synthesis__every=0, **SHAPES["tiles"])
    config.knn.coreset_size = 50
    assert set(only_result(train(config, tmp_path))["metrics"]) == set(METRICS)


@pytest.mark.parametrize("shape", ["rectangle", "pad", "tiles"])
def test_preview_shows_what_is_trained_on(own_images, tmp_path, shape):
    (path,) = preview(small_config(own_images, **SHAPES[shape]), tmp_path)
    sheet = Image.open(path)
    assert sheet.width > 8 * 72
    assert (sheet.height < sheet.width / 1.5) == (shape == "rectangle")


def bright_where(*, left):
    """A score of 1 in one half of every image."""

    def score_maps(images, *, batch_size):
        maps = np.zeros(images.shape[:3], np.float32)
        half = images.shape[2] // 2
        maps[:, :, slice(0, half) if left else slice(half, None)] = 1
        return maps

    return score_maps


def test_outside_the_region_nothing_scores(tmp_path):
    region = np.zeros((40, 48), np.uint8)
    region[:, :24] = 1
    paths = [save(photograph(i), tmp_path / f"{i}.png") for i in range(3)]
    regions = [save(Image.fromarray(region), tmp_path / "region.png")] * 3
    catalog = Catalog("parts", tuple(map(Sample, paths)), tuple(map(Sample, paths)))
    test = decode_test_images(catalog, square(32), square(32), regions=regions, invert_masks=False)
    inside, outside = (test.score(bright_where(left=left), scoring(4)) for left in (True, False))
    assert (inside.images == 1).all()
    assert (outside.images == 0).all()
    assert not outside.maps.any()
    assert inside.valid[:, :, :16].all()


def test_the_score_of_an_image_may_be_the_mean_of_its_largest_pixels(tmp_path):
    """Of all that is looked at; of photographs in tiles as many pixels as of one tile."""
    region = np.zeros((64, 64), np.uint8)
    region[:, :32] = 1
    paths = [save(photograph(i, (64, 64)).convert("L"), tmp_path / f"{i}.png") for i in range(2)]
    regions = [save(Image.fromarray(region), tmp_path / "region.png")] * 2
    catalog = Catalog("parts", tuple(map(Sample, paths)), tuple(map(Sample, paths)))
    pixels = [np.asarray(Image.open(path), np.float32) for path in paths]

    def brightness(images, *, batch_size):
        return images[..., 0].astype(np.float32)

    whole, tiles = square(64), PixelOptions(size=(32, 32), tile_size=32)
    for options, frame in ((whole, whole), (tiles, map_frame(paths, tiles, 64))):
        for files, seen in ((None, np.s_[:]), (regions, np.s_[:, :32])):
            test = decode_test_images(catalog, options, frame, regions=files, invert_masks=False)
            scores = test.score(brightness, scoring(4, top_share=0.05)).images
            counted = 32 * 32 if options is tiles else pixels[0][seen].size
            expected = [np.sort(p[seen], None)[-round(0.05 * counted) :].mean() for p in pixels]
            np.testing.assert_allclose(scores, expected, atol=1e-3)


def test_tiles_are_scored_like_the_photograph_they_are_of(tmp_path):
    """A score that is brightness itself gives the photograph, whatever it is cut into."""
    path = save(photograph(0, (90, 150)).convert("L"), tmp_path / "p.png")
    catalog = Catalog("parts", (Sample(path),) * 2, (Sample(path),))
    options = PixelOptions(size=(32, 32), tile_size=32, tile_overlap=6)
    seen = []

    def brightness(images, *, batch_size):
        seen.append(len(images))
        return images[..., 0].astype(np.float32)

    frame = map_frame([path], options, 75)
    assert frame.size == (45, 75)
    scores = decode_test_images(catalog, options, frame, regions=None, invert_masks=False).score(
        brightness, scoring(4)
    )
    pixels = Image.open(path)
    expected = np.asarray(pixels.resize((75, 45), Image.Resampling.BILINEAR), np.float32)
    np.testing.assert_allclose(scores.maps[0], expected, atol=1.5)
    assert scores.images[0] == np.asarray(pixels).max()
    assert max(seen) == 4
    assert sum(seen) == len(placements((90, 150), options))


def test_at_the_edge_of_a_region_only_what_lies_inside_counts(tmp_path):
    region = np.zeros((64, 64), np.uint8)
    region[:, :33] = 1
    path = save(photograph(0, (64, 64)), tmp_path / "p.png")
    regions = [save(Image.fromarray(region), tmp_path / "region.png")]
    catalog = Catalog("parts", (Sample(path),) * 2, (Sample(path),))
    options = PixelOptions(size=(32, 32), tile_size=32)
    frame = map_frame([path], options, 16)
    test = decode_test_images(catalog, options, frame, regions=regions, invert_masks=False)
    scores = test.score(lambda images, batch_size: np.ones(images.shape[:3]), scoring(9))
    np.testing.assert_allclose(scores.maps[scores.valid], 1, atol=1e-6)
    assert not scores.maps[~scores.valid].any()


def test_small_photographs_are_not_enlarged_to_the_frame(tmp_path):
    sizes = ((400, 1000), (80, 100))
    paths = [save(photograph(0, size), tmp_path / f"{size[0]}.png") for size in sizes]
    catalog = Catalog("parts", tuple(map(Sample, paths)), tuple(map(Sample, paths)))
    options = PixelOptions(size=(32, 32), tile_size=32)
    frame = map_frame(paths, options, 500)
    test = decode_test_images(catalog, options, frame, regions=None, invert_masks=False)
    assert [test.placement(i).target_size for i in range(2)] == [(200, 500), (40, 50)]
    long = save(photograph(0, (32, 5000)), tmp_path / "long.png")
    assert map_frame([long], options, 100).size == (1, 100)


def test_photographs_of_several_sizes_share_a_frame(tmp_path):
    sizes = {"wide": (40, 120), "tall": (100, 60)}
    paths = [save(photograph(0, size), tmp_path / f"{n}.png") for n, size in sizes.items()]
    catalog = Catalog("parts", tuple(map(Sample, paths)), tuple(map(Sample, paths)))
    options = PixelOptions(size=(32, 32), tile_size=32)
    test = decode_test_images(
        catalog, options, map_frame(paths, options, 60), regions=None, invert_masks=False
    )
    assert test.frame.size == (50, 60)
    ones = test.score(lambda images, batch_size: np.ones(images.shape[:3]), scoring(9))
    for index, (height, width) in enumerate(sizes.values()):
        shape = (ones.valid[index].any(1).sum(), ones.valid[index].any(0).sum())
        scale = min(50 / height, 60 / width)
        assert shape == (round(height * scale), round(width * scale))
        assert (ones.maps[index] > 0.99).sum() == ones.valid[index].sum()
        assert not ones.maps[index][~ones.valid[index]].any()


def test_the_bit_depth_is_that_of_the_training_images(own_images, tmp_path, capsys):
    """Test images that hold larger values are clipped, and the report says so."""
    for path in [*own_images.glob("normal/*.png"), *own_images.glob("defective/**/*.png")]:
        scale = 16 if "normal" in path.parts else 32
        values = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * scale
        Image.fromarray(values).save(path)
    config = small_config(own_images, train__epochs=1)
    result = only_result(train(config, tmp_path))
    assert result["made_from"]["weights"]["bit depth"] == 12
    assert "the training images hold 12 bits a value" in capsys.readouterr().out
    (note,) = result["notes"]
    assert note.startswith("3 test images hold values beyond 12 bits, which were clipped (first:")
    assert note in (tmp_path / "report.html").read_text()
    evaluate(config, tmp_path)
    assert note in capsys.readouterr().out


def test_defects_that_shrink_to_nothing_are_named(tmp_path):
    mask = np.zeros((400, 400), np.uint8)
    mask[100:104, 200:204] = 255
    image = save(photograph(0, (400, 400)), tmp_path / "p.png")
    path = save(Image.fromarray(mask), tmp_path / "m.png")
    catalog = Catalog("parts", (Sample(image),) * 2, (Sample(image, "dent", (path,)),))
    notes = {}
    for size in (32, 320):
        options = square(size)
        test = decode_test_images(catalog, options, options, regions=None, invert_masks=False)
        notes[size] = test.notes()
    assert notes[320] == []
    assert notes[32] == [
        f"1 masks have no pixel left at 32 × 32 (first: {path}); such defects need tiles, or a "
        "larger image"
    ]
