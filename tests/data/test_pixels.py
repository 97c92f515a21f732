"""How values become 8 bits, and how sizes change."""

import struct

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from data.files import BoundedFile
from data.images import MEAN_COLOUR, count_arrays, decode_image, decode_images, find_bit_depth
from data.masks import open_mask
from data.opening import image_size
from data.options import PixelOptions
from dtsnet_jax.errors import UserError
from tests.helpers import photograph, square
from tests.miniature import save

OPTIONS = PixelOptions()


def test_no_more_is_read_than_there_is(tmp_path):
    """What a header claims, such as 2⁶² bytes, Python would make room for."""
    (tmp_path / "a").write_bytes(b"123456")
    with BoundedFile(tmp_path / "a") as file:
        assert file.read(2) == b"12"
        assert file.read(2**62) == b"3456"
        assert file.read(2**62) == b""
        file.seek(1)
        assert file.read() == b"23456"


def test_a_place_in_the_file_that_is_no_whole_number(tmp_path):
    path = save(Image.new("L", (4, 4)), tmp_path / "i.tif")
    content = bytearray(path.read_bytes())
    entry = content.index(struct.pack("<H", 273), int.from_bytes(content[4:8], "little"))
    struct.pack_into("<HIf", content, entry + 2, 11, 1, 8.0)  # StripOffsets, its type is FLOAT
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"i\.tif' cannot be decoded"):
        decode_image(path, OPTIONS)


def test_a_palette_that_is_missing(tmp_path):
    path = save(Image.new("P", (4, 4)), tmp_path / "i.png")
    content = path.read_bytes()
    start = content.index(b"PLTE") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4])
    path.write_bytes(content[:start] + content[end:])
    with pytest.raises(UserError, match="its palette is missing"):
        open_mask(path, path, invert=False)


def write_deep(path, values):
    """Stores uint16 values, grey or RGB, as they are."""
    if path.suffix == ".tif":
        tifffile.imwrite(path, values, photometric="rgb" if values.ndim == 3 else "minisblack")
    else:
        path = path.with_suffix(".ppm") if path.suffix == ".pgm" and values.ndim == 3 else path
        lossless = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
        settings = lossless if path.suffix == ".jp2" else []
        cv2.imwrite(str(path), values[..., ::-1] if values.ndim == 3 else values, settings)
    return path


def deep_and_plain(tmp_path, bits, *, colour, suffix):
    """The same picture with ``bits`` and with 8 bits a value."""
    plain = np.asarray(photograph(0) if colour else photograph(0).convert("L"))
    values = np.round(plain / 255 * (2**bits - 1)).astype(np.uint16)
    deep = write_deep(tmp_path / f"deep{suffix}", values)
    return deep, save(Image.fromarray(plain), tmp_path / "plain.png")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm", ".jp2"])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_every_depth_gives_the_same_pixels(tmp_path, bits, colour, suffix):
    deep, plain = deep_and_plain(tmp_path, bits, colour=colour, suffix=suffix)
    options = square(48, bit_depth=bits)
    assert find_bit_depth([deep], options) == bits
    difference = decode_image(deep, options).astype(int) - decode_image(plain, options)
    assert np.abs(difference).max() <= (1 if suffix == ".jp2" else 0)  # which is not quite lossless


@pytest.mark.parametrize(
    ("largest", "bits"),
    [(0, 8), (255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (16383, 14), (16384, 16)],
)
def test_the_smallest_depth_that_holds_all_values(tmp_path, largest, bits):
    values = np.zeros((2, 20, 20), np.uint16)
    values[1, 3, 4] = largest
    paths = [write_deep(tmp_path / f"{i}.png", one) for i, one in enumerate(values)]
    assert find_bit_depth([*paths, save(photograph(0), tmp_path / "plain.png")], OPTIONS) == bits


def test_depth_of_colours_and_of_ordinary_files(tmp_path):
    deep, plain = deep_and_plain(tmp_path, 12, colour=True, suffix=".png")
    assert find_bit_depth([plain], OPTIONS) == 8
    assert find_bit_depth([plain, deep], OPTIONS) == 12


def test_values_beyond_the_depth_are_clipped_and_reported(tmp_path):
    values = np.full((32, 32), 1023, np.uint16)
    inside = write_deep(tmp_path / "inside.png", values)
    beyond = write_deep(tmp_path / "beyond.png", values + 1)
    decoded = decode_images([inside, beyond], square(32, bit_depth=10), what="images")
    assert decoded.facts.clipped == [beyond]
    assert (decoded.images == 255).all()


def test_rotation_of_deep_colours_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = np.asarray(photograph(0))
    deep = write_deep(tmp_path / "deep.png", plain.astype(np.uint16) * 257)
    marked = tmp_path / "marked.png"  # Pillow cannot write it: the chunk is put in by hand
    turned = save(Image.fromarray(plain), tmp_path / "t.png")
    Image.fromarray(plain).save(turned, exif=exif)
    content, donor = deep.read_bytes(), turned.read_bytes()
    start = donor.index(b"eXIf") - 4
    chunk = donor[start : start + 12 + int.from_bytes(donor[start : start + 4])]
    marked.write_bytes(content[:33] + chunk + content[33:])
    options = square(32)
    np.testing.assert_array_equal(decode_image(marked, options), decode_image(turned, options))


@pytest.mark.parametrize("size", [(32, 64), (96, 64), (64, 32)])
def test_without_antialiasing_resizing_is_opencvs(tmp_path, size):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    path = save(Image.fromarray(noise), tmp_path / "noise.png")
    (plain,) = decode_image(path, PixelOptions(size=size, antialias=False))
    released = 255 * cv2.resize(noise / 255.0, size[::-1])
    assert np.abs(plain - released).max() <= 1
    (smooth,) = decode_image(path, PixelOptions(size=size))
    assert np.abs(smooth - released).mean() > 13  # averaging takes the noise away


def test_padding_is_of_one_colour_and_outside_the_photograph(tmp_path):
    path = save(Image.new("RGB", (100, 50), (7, 8, 9)), tmp_path / "wide.png")
    (image,) = decode_image(path, square(64, fit="pad"))
    assert (image[16:48] == (7, 8, 9)).all()
    assert (image[:16] == MEAN_COLOUR).all()
    assert (image[48:] == MEAN_COLOUR).all()


def test_cropping_takes_the_middle(tmp_path):
    colours = np.zeros((50, 150, 3), np.uint8)
    colours[:, 50:100] = 200
    path = save(Image.fromarray(colours), tmp_path / "wide.png")
    (image,) = decode_image(path, square(64, fit="crop"))
    assert (image[:, 2:-2] == 200).all()


def test_tiles_are_parts_of_the_photograph_in_order(tmp_path):
    path = save(photograph(0, (64, 100)), tmp_path / "p.png")
    options = square(32, tile_size=32)
    tiles = decode_image(path, options)
    pixels = np.asarray(photograph(0, (64, 100)))
    assert count_arrays([path, path], options) == [8, 8]
    np.testing.assert_array_equal(tiles[1], pixels[:32, 32:64])
    np.testing.assert_array_equal(tiles[7], pixels[32:, 68:])
    both = decode_images([path, path], options, what="images").images
    np.testing.assert_array_equal(both, np.concatenate([tiles, tiles]))
    with pytest.raises(UserError, match=r"p\.png' has 100×64 pixels, less than a tile of 65"):
        count_arrays([path], square(32, tile_size=65))


def test_files_that_are_too_large_are_refused_by_a_field(tmp_path):
    path = save(Image.new("L", (2000, 1000)), tmp_path / "large.png")
    with pytest.raises(
        UserError,
        match=r"^image '.*large\.png' has 2\.0 mega.*data\.max_megapixels=1; set that to 2",
    ):
        decode_image(path, square(32, max_megapixels=1.0))
    assert decode_image(path, square(32, max_megapixels=2.0)).shape == (1, 32, 32, 3)


def test_a_large_jpeg_is_decoded_small_with_nearly_the_same_pixels(tmp_path):
    path = tmp_path / "large.jpg"
    picture = photograph(0, (4000, 6000))
    picture.save(path, quality=95)
    (drafted,) = decode_image(path, square(64))
    expected = np.asarray(picture.resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(drafted - expected).mean() < 2


def test_16_bits_a_pixel_are_not_16_bits_a_value(tmp_path):
    """Old BMP files have 5, 6 and 5 bits for the three colours."""
    values = np.zeros((4, 4), "<u2")
    values[:, 2:] = 0b11111_000000_00000  # red
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    info = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 16, 3, values.nbytes, 0, 0, 0, 0) + masks
    header = struct.pack("<2sIHHI", b"BM", 14 + len(info) + values.nbytes, 0, 0, 14 + len(info))
    path = tmp_path / "old.bmp"
    path.write_bytes(header + info + values.tobytes())
    assert find_bit_depth([path], OPTIONS) == 8
    (image,) = decode_image(path, square(32))
    assert (image[:, -8:] == (255, 0, 0)).all()


def test_16_bit_colours_in_an_unusual_order_are_refused(tmp_path):
    path = tmp_path / "planes.tif"
    planes = np.zeros((3, 40, 48), np.uint16)
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    with pytest.raises(UserError, match=r"^image '.*planes\.tif' holds .* plane by plane"):
        decode_image(path, square(32))


@pytest.mark.parametrize("deep", [False, True])
def test_turned_grey_tiff_files_are_upright(tmp_path, deep):
    values = np.asarray(photograph(0).convert("L"))
    values = values.astype(np.uint16) * 257 if deep else values
    path = tmp_path / "turned.tif"
    tifffile.imwrite(path, values, extratags=[(274, "H", 1, 6, True)])
    upright = Image.fromarray(np.asarray(photograph(0).convert("L"))).transpose(
        Image.Transpose.ROTATE_270
    )
    expected = decode_image(save(upright, tmp_path / "upright.png"), square(32))
    np.testing.assert_array_equal(decode_image(path, square(32)), expected)


@pytest.mark.parametrize("kind", [b"P5", b"P6"])
def test_pgm_and_ppm_values_are_taken_as_they_lie_in_the_file(tmp_path, kind):
    plain = np.asarray(photograph(0) if kind == b"P6" else photograph(0).convert("L"))
    values = np.rint(plain / 255 * 4095).astype(">u2")
    path = tmp_path / "camera.pgm"
    path.write_bytes(kind + b"\n48 40\n4095\n" + values.tobytes())
    options = square(32, bit_depth=12)
    assert find_bit_depth([path], options) == 12
    expected = decode_image(save(Image.fromarray(plain), tmp_path / "plain.png"), options)
    np.testing.assert_array_equal(decode_image(path, options), expected)


@pytest.mark.parametrize("orientation", [0, 9])
def test_a_rotation_that_is_none_is_ignored(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photograph(0).save(tmp_path / "r.jpg", exif=exif)
    photograph(0).save(tmp_path / "plain.jpg")
    assert image_size(tmp_path / "r.jpg") == (48, 40)
    found, expected = (decode_image(tmp_path / f"{n}.jpg", square(32)) for n in ("r", "plain"))
    np.testing.assert_array_equal(found, expected)
