import numpy as np
import pytest

from data.geometry import placements
from data.options import PixelOptions
from data.tiles import Stitching


def stitch(values, options):
    """Cuts a map into tiles and puts these together again."""
    stitching = Stitching(values.shape, options)
    for tile in placements(values.shape, options):
        left, upper, right, lower = tile.source
        stitching.add(tile, values[upper:lower, left:right])
    return stitching.result()


@pytest.mark.parametrize("overlap", [0, 3, 8, 15])
def test_tiles_that_agree_give_the_map_they_were_cut_from(overlap):
    values = np.random.default_rng(0).random((37, 50)).astype(np.float32)
    options = PixelOptions(size=(16, 16), tile_size=16, tile_overlap=overlap)
    np.testing.assert_allclose(stitch(values, options), values, rtol=1e-5)


def test_where_tiles_disagree_one_fades_into_the_other():
    options = PixelOptions(size=(20, 20), tile_size=20, tile_overlap=10)
    stitching = Stitching((20, 30), options)
    for value, tile in enumerate(placements((20, 30), options)):
        stitching.add(tile, np.full((20, 20), value, np.float32))
    row = stitching.result()[10]
    assert (row[:10] == 0).all()
    assert (row[20:] == 1).all()
    steps = np.diff(row[9:21])
    assert (steps > 0).all()
    assert steps.max() < 0.2  # no seam


def test_the_map_has_the_resolution_of_the_tiles_arrays():
    options = PixelOptions(size=(32, 32), tile_size=64, tile_overlap=10)
    stitching = Stitching((101, 203), options)
    for tile in placements((101, 203), options):
        stitching.add(tile, np.ones((32, 32)))
    assert stitching.result().shape == (round(37 / 2) + 32, round(139 / 2) + 32)
    np.testing.assert_allclose(stitching.result(), 1.0, rtol=1e-6)
