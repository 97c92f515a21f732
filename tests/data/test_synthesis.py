"""FAS against Eqs. 1–2 and an independent NumPy transcription of the Perlin masks."""

import numpy as np
import pytest
from scipy import ndimage, stats

from data.options import SynthesisOptions
from data.perlin import perlin_mask, perlin_noise, rotate
from data.synthesis import draw_mask, mix, synthesize

SIZE = 64
DRAWS = 10_000
SMALL = 32  # pixels, where there are many draws


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
    return tf.map_fn(lambda s: perlin_mask(s, SMALL), seeds, fn_output_signature=tf.bool)


def seeds(count):
    return tf.stack([tf.fill([count], 7), tf.range(count)], axis=1)


def ks_distance(ours, theirs):
    """The largest distance of two empirical distributions."""
    return stats.ks_2samp(ours, theirs, method="asymp").statistic


# Two samples of DRAWS from one distribution are further apart than this in 0.1 % of all cases.
KS_LIMIT = 1.95 * np.sqrt(2 / DRAWS)


def test_mask_areas_are_distributed_as_in_a_numpy_transcription():
    ours = draw_masks(seeds(DRAWS)).numpy().mean((1, 2))
    generator = np.random.default_rng(0)
    theirs = np.array([numpy_mask(generator, SMALL).mean() for _ in range(DRAWS)])
    assert ks_distance(ours, theirs) < KS_LIMIT


def test_equation_1_areas_are_distributed_as_in_a_numpy_transcription():
    foreground = np.zeros((SMALL, SMALL), bool)
    foreground[4:28, 8:30] = True
    ours = combine(SynthesisOptions(), tf.constant(foreground), DRAWS, SMALL).mean((1, 2))
    generator = np.random.default_rng(1)
    theirs = []
    for _ in range(DRAWS):
        first, second = numpy_mask(generator, SMALL), numpy_mask(generator, SMALL)
        chosen = first & second if generator.random() < 0.5 else first | second
        theirs.append((chosen & foreground).mean())
    assert ks_distance(ours, theirs) < KS_LIMIT


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


def combine(options, foreground=None, count=300, size=SIZE):
    foreground = tf.ones([size, size], tf.bool) if foreground is None else foreground

    @tf.function
    def draw(all_seeds):
        return tf.map_fn(
            lambda s: draw_mask(s, foreground, options).mask, all_seeds, fn_output_signature=tf.bool
        )

    return draw(seeds(count)).numpy()


def test_equation_1_chooses_intersection_or_union_half_the_time():
    kinds = ("intersection", "union", "first", "second")
    masks = {
        kind: combine(SynthesisOptions(masks=(kind,)), count=DRAWS, size=SMALL) for kind in kinds
    }
    assert (masks["intersection"] == masks["first"] & masks["second"]).all()
    assert (masks["union"] == masks["first"] | masks["second"]).all()
    drawn = combine(SynthesisOptions(), count=DRAWS, size=SMALL)
    is_union = (drawn == masks["union"]).all((1, 2))
    is_intersection = (drawn == masks["intersection"]).all((1, 2))
    assert (is_union | is_intersection).all()
    differ = ~(masks["union"] == masks["intersection"]).all((1, 2))
    assert abs(is_union[differ].mean() - 0.5) < 3.3 * 0.5 / np.sqrt(differ.sum())


def test_the_released_code_draws_four_kinds_of_mask_equally():
    kinds = ("first", "second", "intersection", "union")
    masks = [combine(SynthesisOptions(masks=(k,)), count=DRAWS, size=SMALL) for k in kinds]
    drawn = combine(SynthesisOptions(masks=kinds), count=DRAWS, size=SMALL)
    is_kind = np.stack([(drawn == mask).all((1, 2)) for mask in masks])
    told_apart = is_kind.sum(0) == 1  # the four masks differ from the one that was drawn
    distinct = np.ones(DRAWS, bool)
    for i in range(4):
        for j in range(i):
            distinct &= (masks[i] != masks[j]).any((1, 2))
    assert told_apart[distinct].all()
    shares = is_kind[:, distinct].mean(1)
    assert np.abs(shares - 0.25).max() < 3.5 * np.sqrt(0.25 * 0.75 / distinct.sum())


def test_masks_are_rotated_by_uniform_angles():
    seed_pairs = seeds(DRAWS)

    @tf.function
    def angles(all_seeds):
        def one(seed):
            _, seed_angle = tf.unstack(tf.random.split(seed, 2))
            return tf.random.stateless_uniform([], seed_angle, -np.pi / 2, np.pi / 2)

        return tf.map_fn(one, all_seeds, fn_output_signature=tf.float32)

    drawn = angles(seed_pairs).numpy()
    assert stats.kstest(drawn, stats.uniform(-np.pi / 2, np.pi).cdf).statistic < 1.95 / DRAWS**0.5
    seed_noise, _ = tf.unstack(tf.random.split(seed_pairs[0], 2))
    by_hand = rotate(perlin_noise(seed_noise, SIZE), tf.constant(drawn[0])) > 0.5
    np.testing.assert_array_equal(perlin_mask(seed_pairs[0], SIZE), by_hand)


def test_masks_stay_inside_the_foreground():
    foreground = np.zeros((SIZE, SIZE), bool)
    foreground[10:40, 5:60] = True
    masks = combine(SynthesisOptions(), tf.constant(foreground), count=1000)
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
    normal = tf.zeros([SMALL, SMALL, 3], tf.uint8)
    texture = tf.fill([SMALL, SMALL, 3], tf.constant(255, tf.uint8))
    everywhere = tf.ones([SMALL, SMALL], tf.bool)

    @tf.function
    def draw(all_seeds):
        def one(seed):
            anomaly = synthesize(normal, texture, everywhere, seed, options)
            return anomaly.image[..., 0], anomaly.masks.mask, anomaly.opacity

        signature = (tf.uint8, tf.bool, tf.float32)
        return tf.map_fn(one, all_seeds, fn_output_signature=signature)

    images, masks, opacities = (x.numpy() for x in draw(seeds(DRAWS)))
    limit = 1.95 / np.sqrt(DRAWS)
    assert stats.kstest(opacities, stats.uniform(0.15, 0.85).cdf).statistic < limit
    assert 0.15 <= opacities.min() < 0.151
    assert 0.999 < opacities.max() <= 1
    assert (images[~masks] == 0).all()
    weights = opacities if opacity_of == "texture" else 1 - opacities
    expected = np.broadcast_to(weights[:, None, None] * 255, images.shape)
    np.testing.assert_allclose(images[masks], expected[masks], atol=0.501)


def test_an_empty_mask_leaves_the_image_as_it_was():
    normal = tf.constant(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8))
    nothing = tf.zeros([SIZE, SIZE], tf.bool)
    anomaly = synthesize(normal, 255 - normal, nothing, [1, 2], SynthesisOptions())
    assert not anomaly.masks.mask.numpy().any()
    np.testing.assert_array_equal(anomaly.image, normal)
