import numpy as np
import pytest
from PIL import Image

from data.geometry import place, placements, tile_boxes
from data.options import PixelOptions


def test_stretching_fills_the_array():
    placed = place((50, 200), (32, 64), "stretch")
    assert placed.source == (0, 0, 200, 50)
    assert placed.target == (0, 0, 64, 32)
    assert placed.covered.all()


@pytest.mark.parametrize(
    ("photograph", "target"),
    [((50, 200), (0, 24, 64, 40)), ((200, 50), (24, 0, 40, 64)), ((70, 70), (0, 0, 64, 64))],
)
def test_padding_keeps_the_aspect_and_leaves_even_margins(photograph, target):
    placed = place(photograph, (64, 64), "pad")
    assert placed.source == (0, 0, *photograph[::-1])
    assert placed.target == target
    left, upper, right, lower = target
    assert placed.covered.sum() == (right - left) * (lower - upper)


def test_cropping_keeps_the_aspect_and_takes_the_middle():
    assert place((50, 200), (64, 64), "crop").source == (75, 0, 125, 50)
    assert place((200, 50), (64, 128), "crop").source == (0, 87, 50, 112)
    assert place((70, 70), (64, 64), "crop").source == (0, 0, 70, 70)


def test_the_narrowest_photograph_still_gets_a_pixel():
    placed = place((1, 1000), (32, 32), "pad")
    assert placed.target_size == (1, 32)
    assert place((1000, 1), (32, 32), "crop").source == (0, 499, 1, 500)


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_what_was_found_goes_back_to_its_place(fit):
    """A bright square, seen in the array, is at its place in the photograph again."""
    photograph = np.zeros((60, 150), np.float32)
    photograph[20:40, 60:80] = 1
    placed = place(photograph.shape, (96, 96), fit)
    seen = np.asarray(placed.resize(Image.fromarray(photograph), antialias=True))
    assert seen.shape == (96, 96)
    for scale in (1.0, 2.0, 0.5):
        back = placed.undo(seen, scale=scale)
        assert back.shape == (60 * scale, 150 * scale)
        size = (int(150 * scale), int(60 * scale))
        expected = np.asarray(Image.fromarray(photograph).resize(size)) > 0.5
        union = (back > 0.5) | expected
        assert ((back > 0.5) & expected).sum() / union.sum() > 0.75
    assert (placed.undo(np.ones((96, 96))) == 1).mean() == (0.4 if fit == "crop" else 1)


def tiles(photograph, size, overlap=0):
    return tile_boxes(photograph, size, overlap)


def test_tiles_cover_everything_and_none_reaches_outside():
    generator = np.random.default_rng(0)
    for _ in range(50):
        size = int(generator.integers(3, 20))
        overlap = int(generator.integers(size))
        photograph = tuple(generator.integers(size, 60, 2).tolist())
        count = np.zeros(photograph, int)
        for left, upper, right, lower in tiles(photograph, size, overlap):
            assert (right - left, lower - upper) == (size, size)
            assert min(left, upper) >= 0
            count[upper:lower, left:right] += 1
        assert count.shape == photograph
        assert count.min() >= 1


def test_the_last_row_and_column_move_inwards():
    assert tiles((10, 25), 10) == [(0, 0, 10, 10), (10, 0, 20, 10), (15, 0, 25, 10)]
    assert tiles((10, 20), 10) == [(0, 0, 10, 10), (10, 0, 20, 10)]
    assert tiles((10, 10), 10, 5) == [(0, 0, 10, 10)]
    assert [box[0] for box in tiles((10, 22), 10, 4)] == [0, 6, 12]


def test_every_tile_fills_its_array():
    options = PixelOptions(size=(32, 32), tile_size=10)
    assert {one.target for one in placements((30, 20), options)} == {(0, 0, 32, 32)}
    with pytest.raises(ValueError, match="20×9 pixels, less than a tile of 10"):
        placements((9, 20), options)


def test_a_padded_photograph_is_not_enlarged_beyond_the_limit():
    assert place((10, 20), (64, 64), "pad", largest_scale=1.0).target_size == (10, 20)
    assert place((10, 20), (64, 64), "pad").target_size == (32, 64)


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_a_photograph_that_was_decoded_smaller_goes_to_the_same_place(fit):
    """A JPEG file may be decoded at a fraction of its size, which is not always whole."""
    photograph = Image.fromarray(np.tile(np.arange(301, dtype=np.float32), (203, 1)))
    placed = place((203, 301), (64, 96), fit)
    whole = np.asarray(placed.resize(photograph, antialias=True, fill=-1.0))
    half = np.asarray(placed.resize(photograph.resize((151, 102)), antialias=True, fill=-1.0))
    np.testing.assert_array_equal(whole == -1, half == -1)
    assert np.abs(whole - half).max() < 2
