"""Every layout × kind of mask × bits a value × shape gives the same samples."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from data.geometry import placements
from data.images import decode_images, find_bit_depth
from data.mask_arrays import decode_masks
from data.options import PixelOptions
from tests.data.layouts import BOXES, LAYOUTS, marked, read
from tests.data.test_layouts_masks import KINDS
from tests.helpers import photograph

BITS = (8, 12, 16)
SHAPES = {
    "square": PixelOptions(size=(32, 32)),
    "rectangle": PixelOptions(size=(32, 64), fit="pad"),
    "tiles": PixelOptions(size=(32, 32), tile_size=24, tile_overlap=5),
}


def deepen(layout, bits):
    """Stores all images anew, with values of so many bits."""
    if bits == 8:
        return
    for path in [*(layout.directory / layout.good).iterdir(), *layout.images.values()]:
        values = np.asarray(Image.open(path)) / 255 * (2**bits - 1)
        cv2.imwrite(str(path), np.rint(values).astype(np.uint16)[..., ::-1])


def expected_images(pictures, options):
    fill = (124, 116, 104)
    return [
        np.asarray(placed.resize(picture, antialias=True, fill=fill))
        for picture in pictures
        for placed in placements(picture.size[::-1], options)
    ]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("kind", "write_masks"), KINDS)
def test_the_same_samples_come_out(layout, bits, kind, write_masks, tmp_path):
    layout = layout(tmp_path / "parts")
    layout.finish(write_masks(layout, kind))
    deepen(layout, bits)
    catalog = read(layout.root)
    good = [sample.path for sample in catalog.train]
    bad = sorted((s for s in catalog.test if s.label), key=lambda s: s.defect, reverse=True)
    assert find_bit_depth(good, PixelOptions()) == bits
    for options in SHAPES.values():
        options = replace(options, bit_depth=bits)
        for paths, pictures in (
            (good, [photograph(int(path.stem)) for path in good]),
            ([sample.path for sample in bad], [photograph(100 + i) for i in range(2)]),
        ):
            decoded = decode_images(paths, options, what="images")
            np.testing.assert_array_equal(decoded.images, expected_images(pictures, options))
            assert decoded.facts.clipped == []
        if not options.tile_size:
            masks = decode_masks(bad, options, invert=False)
            for mask, box in zip(masks, BOXES.values(), strict=True):
                coverage = Image.fromarray(marked(box).astype(np.float32))
                (placed,) = placements(marked(box).shape, options)
                expected = np.asarray(placed.resize(coverage, antialias=True)) > 0.5
                np.testing.assert_array_equal(mask, expected)
