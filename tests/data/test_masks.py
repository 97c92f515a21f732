import cv2
import numpy as np
import pytest
from PIL import Image

from data.catalog import Sample
from data.mask_arrays import decode_foregrounds, decode_masks
from data.masks import check_mask_size, inspect_masks, open_mask, open_masks
from dtsnet_jax.errors import UserError
from tests.data.layouts import (
    PICTURES,
    SHAPE,
    coco_file,
    colour,
    labelme,
    marked,
    palette,
    shape,
    with_alpha,
    write,
)
from tests.helpers import photograph, square
from tests.miniature import save

BOX = (12, 10, 20, 22)


@pytest.fixture
def image(tmp_path):
    return save(photograph(0), tmp_path / "i.png")


def opened(mask, image, name="m.png", *, invert=False):
    return open_mask(save(mask, image.parent / name), image, invert=invert)


@pytest.mark.parametrize("value", [1, 7, 255])
def test_any_value_but_zero_is_defect(image, value):
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 24:] = value
    path = save(Image.fromarray(mask), image.parent / "m.png")
    decoded = decode_masks([Sample(image, "x", (path,)), Sample(image)], square(32), invert=False)
    expected = np.zeros((2, 32, 32), bool)
    expected[0, :, 16:] = True
    np.testing.assert_array_equal(decoded, expected)


class TestTransparency:
    def test_colours_on_what_is_transparent(self, image):
        mask = colour(marked(BOX), "RGBA")
        mask.putalpha(Image.fromarray(marked(BOX).astype(np.uint8) * 255))
        np.testing.assert_array_equal(opened(mask, image), marked(BOX))

    def test_black_on_white_that_is_transparent(self, image):
        values = np.full((*SHAPE, 4), 255, np.uint8)
        values[marked(BOX), :3] = 0
        values[~marked(BOX), 3] = 0
        np.testing.assert_array_equal(opened(Image.fromarray(values), image), marked(BOX))

    def test_black_beside_colours_is_no_defect(self, image):
        values = np.asarray(colour(marked(BOX), "RGBA")).copy()
        values[:5, :, 3] = 0
        np.testing.assert_array_equal(opened(Image.fromarray(values), image), marked(BOX))

    def test_of_a_palette(self, image):
        path = image.parent / "m.png"
        palette(marked(BOX)).save(path, transparency=3)
        np.testing.assert_array_equal(open_mask(path, image, invert=False), marked(BOX))

    def test_all_of_it_marks_nothing(self, image):
        assert not opened(with_alpha("RGB", np.zeros(SHAPE, bool), (9, 9, 9)), image).any()


@pytest.mark.parametrize("kind", PICTURES)
def test_inverted_pictures_are_the_opposite(image, kind):
    suffix, draw = PICTURES[kind]
    mask = draw(marked(BOX))
    straight = opened(mask, image, f"m{suffix}")
    np.testing.assert_array_equal(opened(mask, image, f"m{suffix}", invert=True), ~straight)


def test_outlines_are_never_inverted(image):
    path = write(image.parent / "m.json", labelme("i.png", shape("rectangle", [[0, 0], [4, 4]])))
    assert open_mask(path, image, invert=True).sum() == 16


def test_the_defect_is_the_union_of_all_masks_each_inverted_by_itself(image):
    boxes = [(0, 0, 5, 5), (30, 20, 35, 25)]
    paths = [save(Image.fromarray(~marked(box)), image.parent / f"{box[0]}.png") for box in boxes]
    union = open_masks(Sample(image, "x", tuple(paths)), invert=True)
    np.testing.assert_array_equal(union, marked(boxes[0]) | marked(boxes[1]))
    assert not open_masks(Sample(image), invert=True).any()


class TestSizes:
    def test_a_picture_of_another_size_is_refused(self, image):
        mask = save(Image.new("L", (20, 20)), image.parent / "m.png")
        with pytest.raises(UserError, match=r"m\.png.*20×20.*i\.png.*48×40"):
            check_mask_size(mask, image)

    def test_outlines_for_another_size_are_refused(self, image):
        path = write(image.parent / "m.json", labelme("i.png", size=(40, 48)))
        with pytest.raises(UserError, match=r"m\.json' is 40×48.*i\.png' is 48×40"):
            open_mask(path, image, invert=False)

    def test_a_photograph_that_is_turned_has_the_size_that_is_seen(self, image):
        exif = Image.Exif()
        exif[0x0112] = 6
        photograph(0).save(image, exif=exif)
        check_mask_size(write(image.parent / "m.json", labelme("i.png", size=(40, 48))), image)


def test_json_that_does_not_name_the_image_is_refused(image):
    path = write(image.parent / "m.json", coco_file({"other.png": BOX}))
    with pytest.raises(UserError, match=r"m\.json' says nothing of the image '.*i\.png'"):
        open_mask(path, image, invert=False)
    with pytest.raises(UserError, match=r"gone\.json' cannot be read \(No such file"):
        check_mask_size(image.parent / "gone.json", image)


def test_unlikely_masks_are_counted_and_the_first_is_named(image):
    def sample(name, mask):
        return Sample(image, "x", (save(Image.fromarray(mask), image.parent / name),))

    lines = write(
        image.parent / "l.json",
        labelme("i.png", shape("line", [[0, 0], [9, 9]]), shape("rectangle", [[0, 0], [4, 4]])),
    )
    samples = [
        Sample(image),
        sample("a.png", marked(BOX)),
        sample("b.png", ~marked(BOX)),
        sample("c.png", ~marked(BOX)),
        sample("d.png", np.zeros(SHAPE, bool)),
        Sample(image, "x", (lines,)),
    ]
    large, nothing, without_area = inspect_masks(samples, invert=False)
    assert large == (
        f"masks: 2 mark more than half of their image (first: {image.parent / 'b.png'}); if zero "
        "marks the defect, set --config.data.invert_masks=True"
    )
    assert nothing == f"masks: 1 mark nothing (first: {image.parent / 'd.png'})"
    assert without_area.startswith("masks: 1 have lines or points, which cover nothing")
    assert without_area.endswith(f"(first: {lines} of {image})")
    large, *_ = inspect_masks(samples[:2], invert=True)
    assert "if zero does not mark the defect, set --config.data.invert_masks=False" in large


def test_inspection_names_what_cannot_be_used(image):
    path = write(image.parent / "m.png", "no picture")
    with pytest.raises(UserError, match=r"m\.png' cannot be decoded.*PNG, JPEG, WebP.*PGM"):
        inspect_masks([Sample(image, "x", (path,))], invert=False)


def test_foregrounds_keep_the_order_of_images_and_parts(image):
    masks = []
    for index in range(3):
        mask = Image.new("L", (48, 40))
        mask.paste(1, (0, 10 * index, 48, 10 * index + 10))
        masks.append(save(mask, image.parent / f"{index}.png"))
    parts = [([image] * 2, masks[:2]), ([image] * 2, None), ([image], masks[2:])]
    foregrounds = decode_foregrounds(parts, square(40), soft=False)
    assert foregrounds.shape == (5, 40, 40)
    assert foregrounds[2:4].all()
    for index, found in enumerate(foregrounds[[0, 1, 4]]):
        assert set(np.flatnonzero(found.any(1))) == set(range(10 * index, 10 * index + 10))


def test_outlines_that_mark_most_of_an_image_bring_no_advice_on_inversion(image):
    path = write(image.parent / "m.json", labelme("i.png", shape("rectangle", [[0, 0], [48, 40]])))
    (large,) = inspect_masks([Sample(image, "x", (path,))], invert=False)
    assert large.endswith("of their image (first: " + f"{path} of {image})")


def test_small_values_of_16_bit_colours_are_defect(image):
    values = np.zeros((*SHAPE, 3), np.uint16)
    values[marked(BOX), 1] = 3
    path = image.parent / "m.png"
    cv2.imwrite(str(path), values)
    np.testing.assert_array_equal(open_mask(path, image, invert=False), marked(BOX))
