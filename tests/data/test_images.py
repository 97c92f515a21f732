import numpy as np
import pytest
import tifffile
from PIL import Image

from data.images import decode_image
from data.opening import image_size, open_image
from dtsnet_jax.errors import UserError
from tests.helpers import photograph, square
from tests.miniature import save

SIZE = 32
OPTIONS = square(SIZE)


def reference(seed=0):
    resized = photograph(seed).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(resized).astype(int)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "TIFF", "ppm", "jp2"])
def test_lossless_formats_give_the_same_pixels(tmp_path, suffix):
    path = save(photograph(0), tmp_path / f"ä part.{suffix}")
    (image,) = decode_image(path, OPTIONS)
    assert image.shape == (SIZE, SIZE, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, reference())


def test_jpeg_is_close(tmp_path):
    path = tmp_path / "part.jpg"
    photograph(0).save(path, quality=95)
    assert np.abs(decode_image(path, OPTIONS)[0] - reference()).mean() < 4


def test_cmyk_jpeg_is_close(tmp_path):
    path = tmp_path / "part.jpg"
    photograph(0).convert("CMYK").save(path, quality=95)
    assert np.abs(decode_image(path, OPTIONS)[0] - reference()).mean() < 6


def test_alpha_is_dropped_not_blended(tmp_path):
    image = photograph(0)
    image.putalpha(Image.new("L", image.size, 10))
    np.testing.assert_array_equal(
        decode_image(save(image, tmp_path / "a.png"), OPTIONS)[0], reference()
    )


def test_grey_is_repeated_and_palette_resolved(tmp_path):
    grey = decode_image(save(photograph(0).convert("L"), tmp_path / "g.png"), OPTIONS)[0]
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 0] == grey[..., 2]).all()
    palette = photograph(0).quantize(256)
    decoded = decode_image(save(palette, tmp_path / "p.png"), OPTIONS)[0]
    assert np.abs(decoded - reference()).mean() < 10


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_equals_8_bit(tmp_path, suffix):
    grey = np.asarray(photograph(0).convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    expected = decode_image(save(Image.fromarray(grey), tmp_path / "8.png"), OPTIONS)[0]
    np.testing.assert_array_equal(
        decode_image(save(deep, tmp_path / f"16.{suffix}"), OPTIONS)[0], expected
    )


def test_16_bit_colour_tiff_equals_8_bit(tmp_path):
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, np.asarray(photograph(0)).astype(np.uint16) * 257, photometric="rgb")
    np.testing.assert_array_equal(decode_image(path, OPTIONS)[0], reference())


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown rotated by 90° clockwise
    path = tmp_path / "r.png"
    photograph(0).save(path, exif=exif)
    turned = photograph(0).transpose(Image.Transpose.ROTATE_270)
    expected = np.asarray(turned.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decode_image(path, OPTIONS)[0], expected)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_broken_files_are_named(tmp_path, content):
    path = save(photograph(0), tmp_path / "broken.png")
    path.write_bytes(path.read_bytes()[:150] if content is None else content)
    with pytest.raises(UserError, match=r"broken\.png.*cannot be decoded"):
        decode_image(path, OPTIONS)


def test_floating_point_image_is_refused(tmp_path):
    path = save(Image.fromarray(np.random.rand(9, 9).astype(np.float32)), tmp_path / "f.tif")
    with pytest.raises(UserError, match=r"f\.tif.*floating-point.*convert"):
        decode_image(path, OPTIONS)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_the_size_in_the_header_is_that_of_the_decoded_image(tmp_path, suffix):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}{suffix}"
        photograph(0, (40, 50)).save(path, exif=exif)
        assert image_size(path) == open_image(path).size
        assert image_size(path) == ((50, 40) if orientation < 5 else (40, 50))
