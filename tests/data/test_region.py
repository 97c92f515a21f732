import numpy as np
import pytest
from PIL import Image

from data.mask_arrays import decode_valid
from data.matching import match_by_name
from data.region import region_files
from dtsnet_jax.errors import UserError
from tests.helpers import photograph, square
from tests.miniature import save


@pytest.fixture
def images(tmp_path):
    return [save(photograph(i), tmp_path / "p" / k / "0.png") for i, k in enumerate("ab")]


def half(path, *, left):
    """A mask of one half."""
    mask = np.zeros((40, 48), np.uint8)
    mask[:, :24] = left
    mask[:, 24:] = 1 - left
    return save(Image.fromarray(mask), path)


def test_nothing_is_everything(images):
    assert region_files(images, "") is None
    assert decode_valid(images, None, square(32)) is None


def test_one_mask_for_all(images, tmp_path):
    mask = half(tmp_path / "mask.png", left=1)
    valid = decode_valid(images, region_files(images, str(mask)), square(32))
    assert valid.shape == (2, 32, 32)
    assert valid[:, :, :16].all()
    assert not valid[:, :, 16:].any()


def test_a_mask_for_each(images, tmp_path):
    for folder, left in (("a", 1), ("b", 0)):
        half(tmp_path / "masks" / folder / "0.png", left=left)
    valid = decode_valid(images, region_files(images, str(tmp_path / "masks")), square(32))
    assert valid[0, :, :16].all()
    assert not valid[0, :, 16:].any()
    assert valid[1, :, 16:].all()
    assert not valid[1, :, :16].any()


def test_of_tiles_every_tile_has_its_part(images, tmp_path):
    region = region_files(images, str(half(tmp_path / "mask.png", left=1)))
    valid = decode_valid(images, region, square(32, tile_size=20))
    assert valid.shape == (2 * 6, 32, 32)
    assert [one.mean() for one in valid[:3]] == [1.0, pytest.approx(0.2, abs=0.03), 0.0]


def test_margins_are_not_valid(images):
    valid = decode_valid(images, None, square(48, fit="pad"))
    assert valid[:, 4:44].all()
    assert not valid[:, :4].any()
    assert not valid[:, 44:].any()


def test_a_mask_of_another_size_is_refused(images, tmp_path):
    mask = save(Image.new("L", (9, 9)), tmp_path / "mask.png")
    with pytest.raises(UserError, match=r"mask\.png' is 9×9 pixels"):
        decode_valid(images, region_files(images, str(mask)), square(32))
    half(tmp_path / "mask.png", left=1)
    images.append(save(photograph(0, (20, 20)), tmp_path / "small.png"))
    with pytest.raises(UserError, match=r"mask\.png' is 48×40 pixels.*small\.png"):
        decode_valid(images, region_files(images, str(mask)), square(32))


def test_what_is_missing_or_ambiguous_is_named(images, tmp_path):
    with pytest.raises(UserError, match=r"data\.region is '.*nowhere', which does not exist"):
        region_files(images, str(tmp_path / "nowhere"))
    masks = tmp_path / "masks"
    half(masks / "other" / "0.png", left=1)
    with pytest.raises(UserError, match=r"a/0\.png' has no region of interest"):
        region_files(images, str(masks))
    half(masks / "0.png", left=1)
    with pytest.raises(UserError, match=r"0\.png' could belong to '.*a/0\.png' and to '.*b/0\.png"):
        region_files(images, str(masks))
    half(masks / "0_mask.png", left=1)
    with pytest.raises(UserError, match=r"several masks as region of interest"):
        region_files(images[:1], str(masks))


def test_the_deeper_of_several_fitting_masks_is_taken(images, tmp_path):
    masks = tmp_path / "masks"
    flat, deep = half(masks / "0.png", left=1), half(masks / "a" / "0.png", left=1)
    assert match_by_name(images[:1], masks, what="mask") == [deep]
    assert match_by_name(images[1:], masks, what="mask") == [flat]
