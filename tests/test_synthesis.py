"""FAS against Eqs. 1–2 and an independent NumPy transcription of the Perlin masks."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from data.perlin import perlin_mask, perlin_noise, rotate
from data.synthesis import SynthesisOptions, anomaly_mask, mix, synthesize

SIZE = 64


def numpy_perlin(generator, size):
    """Perlin noise pixel by pixel: interpolated products of gradients and offsets."""
    cells = 2 ** generator.integers(0, 6, 2)
    angles = 2 * np.pi * generator.random((cells[0] + 1, cells[1] + 1))
    gradients = np.stack([np.sin(angles), np.cos(angles)], -1)
    y, x = np.meshgrid(
        np.arange(size) * cells[0] / size, np.arange(size) * cells[1] / size, indexing="ij"
    )
    y0, x0 = y.astype(int), x.astype(int)

    def corner(dy, dx):
        offset = np.stack([y - y0 - dy, x - x0 - dx], -1)
        return (gradients[y0 + dy, x0 + dx] * offset).sum(-1)

    def fade(t):
        return 6 * t**5 - 15 * t**4 + 10 * t**3

    fy, fx = fade(y - y0), fade(x - x0)
    top = corner(0, 0) * (1 - fx) + corner(0, 1) * fx
    bottom = corner(1, 0) * (1 - fx) + corner(1, 1) * fx
    return np.sqrt(2) * (top * (1 - fy) + bottom * fy)


def numpy_mask(generator, size):
    noise = numpy_perlin(generator, size)
    angle = generator.uniform(-90, 90)
    return ndimage.rotate(noise, angle, reshape=False, order=1, mode="constant") > 0.5


@tf.function
def draw_masks(seeds):
    return tf.map_fn(lambda s: perlin_mask(s, SIZE), seeds, fn_output_signature=tf.bool)


def seeds(count):
    return tf.stack([tf.fill([count], 7), tf.range(count)], axis=1)


def test_mask_areas_are_distributed_as_in_a_numpy_transcription():
    count = 2000
    ours = draw_masks(seeds(count)).numpy().mean((1, 2))
    generator = np.random.default_rng(0)
    theirs = np.array([numpy_mask(generator, SIZE).mean() for _ in range(count)])
    # The largest distance of two empirical distributions; 1.95 is the 0.1 % point.
    grid = np.sort(np.concatenate([ours, theirs]))
    distance = np.abs(
        np.searchsorted(np.sort(ours), grid, side="right")
        - np.searchsorted(np.sort(theirs), grid, side="right")
    ).max()
    assert distance / count < 1.95 * np.sqrt(2 / count)


def test_noise_vanishes_on_the_lattice_and_is_a_function_of_the_seed():
    noise = perlin_noise(tf.constant([3, 4]), SIZE).numpy()
    np.testing.assert_array_equal(noise, perlin_noise(tf.constant([3, 4]), SIZE).numpy())
    assert noise[0, 0] == 0
    assert 0.05 < noise.std() < 1
    assert (noise != perlin_noise(tf.constant([3, 5]), SIZE).numpy()).any()


@pytest.mark.parametrize("quarter", [-1, 1])
def test_rotation_by_a_right_angle_moves_pixels_exactly(quarter):
    image = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    turned = rotate(tf.constant(image), tf.constant(quarter * np.pi / 2, tf.float32)).numpy()
    np.testing.assert_allclose(turned, np.rot90(image, quarter), atol=1e-5)


def test_rotation_brings_in_zeros():
    turned = rotate(tf.ones([32, 32]), tf.constant(np.pi / 4, tf.float32)).numpy()
    assert turned[0, 0] == turned[-1, -1] == 0
    assert turned[16, 16] == pytest.approx(1)


def combine(options, foreground=None, count=300):
    foreground = tf.ones([SIZE, SIZE], tf.bool) if foreground is None else foreground

    @tf.function
    def draw(all_seeds):
        return tf.map_fn(
            lambda s: anomaly_mask(s, foreground, options), all_seeds, fn_output_signature=tf.bool
        )

    return draw(seeds(count)).numpy()


def test_equation_1_chooses_intersection_or_union_half_the_time():
    count = 1000
    kinds = ("intersection", "union", "first", "second")
    masks = {kind: combine(SynthesisOptions(masks=(kind,)), count=count) for kind in kinds}
    assert (masks["intersection"] == masks["first"] & masks["second"]).all()
    assert (masks["union"] == masks["first"] | masks["second"]).all()
    drawn = combine(SynthesisOptions(), count=count)
    is_union = (drawn == masks["union"]).all((1, 2))
    is_intersection = (drawn == masks["intersection"]).all((1, 2))
    assert (is_union | is_intersection).all()
    differ = ~(masks["union"] == masks["intersection"]).all((1, 2))
    share = is_union[differ].mean()
    assert abs(share - 0.5) < 3.3 * 0.5 / np.sqrt(differ.sum())


def test_masks_stay_inside_the_foreground():
    foreground = np.zeros((SIZE, SIZE), bool)
    foreground[10:40, 5:60] = True
    masks = combine(SynthesisOptions(), tf.constant(foreground))
    assert masks.any()
    assert not (masks & ~foreground).any()


def test_equation_2():
    generator = np.random.default_rng(0)
    normal, texture = generator.integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    mask = generator.random((SIZE, SIZE)) > 0.7
    mixed = mix(*map(tf.constant, (normal, texture, mask)), tf.constant(0.3)).numpy()
    m = mask[..., None]
    expected = 0.3 * (m * normal) + 0.7 * (m * texture) + (1 - m) * normal
    np.testing.assert_allclose(mixed, expected, atol=0.501)
    np.testing.assert_array_equal(mixed[~mask], normal[~mask])


@pytest.mark.parametrize("opacity_of", ["normal", "texture"])
def test_opacity_is_uniform_and_weighs_what_it_should(opacity_of):
    options = SynthesisOptions(masks=("union",), opacity_of=opacity_of)
    normal = tf.fill([SIZE, SIZE, 3], tf.constant(0, tf.uint8))
    texture = tf.fill([SIZE, SIZE, 3], tf.constant(255, tf.uint8))
    everywhere = tf.ones([SIZE, SIZE], tf.bool)

    @tf.function
    def draw(seed):
        return synthesize(normal, texture, everywhere, seed, options)

    weights = []
    for seed in seeds(400):
        image, mask = (x.numpy() for x in draw(seed))
        if mask.any():
            weights.append(image[mask].mean() / 255)  # of the texture
    weights = np.array(weights)
    low, high = (0.0, 0.85) if opacity_of == "normal" else (0.15, 1.0)
    assert low - 0.003 <= weights.min() < low + 0.05
    assert high - 0.05 < weights.max() <= high + 0.003
    assert abs(weights.mean() - (low + high) / 2) < 0.05


def test_an_empty_mask_leaves_the_image_as_it_was():
    normal = tf.constant(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8))
    nothing = tf.zeros([SIZE, SIZE], tf.bool)
    image, mask = synthesize(normal, 255 - normal, nothing, [1, 2], SynthesisOptions())
    assert not mask.numpy().any()
    np.testing.assert_array_equal(image, normal)
