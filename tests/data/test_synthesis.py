"""FAS against Eqs. 1–2 and an independent NumPy transcription of the Perlin masks."""

import itertools

import numpy as np
import pytest
from scipy import ndimage, stats

import data.perlin
from data.options import MASK_KINDS, SynthesisOptions
from data.perlin import perlin_mask, perlin_noise, rotate
from data.synthesis import draw_mask, mix, synthesize
from data.tf import tf

SIZE = 64
DRAWS = 3000
SMALL = 32  # pixels, where there are many draws
PAPER = SynthesisOptions()
RELEASED = SynthesisOptions(masks=MASK_KINDS)
FOREGROUND = np.zeros((SMALL, SMALL), bool)
FOREGROUND[4:28, 8:30] = True

# Two samples of DRAWS from one distribution are further apart than the first of these in 0.1 % of
# all cases, one sample from its distribution than the second.
TWO_SAMPLES_LIMIT = 1.95 * np.sqrt(2 / DRAWS)
ONE_SAMPLE_LIMIT = 1.95 / np.sqrt(DRAWS)


def numpy_noise(cells, angles, size):
    """Perlin noise pixel by pixel: interpolated products of gradients and offsets.

    Args:
      cells: (draws, 2), of the lattice along y and x.
      angles: (draws, 33, 33), of the gradients; a lattice of fewer points takes the first ones.
      size: height and width.
    """
    y, x = (np.arange(size) * cells[:, axis, None] / size for axis in (0, 1))
    y, x = y[:, :, None], x[:, None, :]
    y0, x0 = y.astype(int), x.astype(int)
    draw = np.arange(len(cells))[:, None, None]

    def corner(dy, dx):
        angle = angles[draw, y0 + dy, x0 + dx]
        return np.sin(angle) * (y - y0 - dy) + np.cos(angle) * (x - x0 - dx)

    def fade(t):
        return 6 * t**5 - 15 * t**4 + 10 * t**3

    fy, fx = fade(y - y0), fade(x - x0)
    top = corner(0, 0) * (1 - fx) + corner(0, 1) * fx
    bottom = corner(1, 0) * (1 - fx) + corner(1, 1) * fx
    return np.sqrt(2) * (top * (1 - fy) + bottom * fy)


def numpy_masks(generator, count, size):
    cells = 2 ** generator.integers(0, 6, (count, 2))
    angles = 2 * np.pi * generator.random((count, 33, 33))
    rotated = [
        ndimage.rotate(noise, generator.uniform(-90, 90), reshape=False, order=1, mode="constant")
        for noise in numpy_noise(cells, angles, size)
    ]
    return np.stack(rotated) > 0.5


def drawn(function):
    """What a function of a seed gives for DRAWS of them."""
    seeds = tf.stack([tf.fill([DRAWS], 7), tf.range(DRAWS)], axis=1)
    signature = tf.nest.map_structure(tf.type_spec_from_value, function(seeds[0]))

    @tf.function
    def draw(seeds):
        return tf.map_fn(function, seeds, fn_output_signature=signature)

    return tf.nest.map_structure(lambda x: x.numpy(), draw(seeds))


@pytest.fixture(scope="module")
def masks():
    """M of the same seeds: of each kind, as paper and released code draw, and in a foreground."""
    all_options = {kind: SynthesisOptions(masks=(kind,)) for kind in MASK_KINDS}
    all_options |= {"paper": PAPER, "released": RELEASED}
    everything = tf.ones([SMALL, SMALL], tf.bool)

    def draw(seed):
        result = {name: draw_mask(seed, everything, o).mask for name, o in all_options.items()}
        return result | {"inside": draw_mask(seed, tf.constant(FOREGROUND), PAPER).mask}

    return drawn(draw)


@pytest.fixture(scope="module")
def transcribed():
    """Three independent sets of masks: two that are combined, one for itself."""
    generator = np.random.default_rng(0)
    return [numpy_masks(generator, DRAWS, SMALL) for _ in range(3)]


def distance(ours, theirs):
    """The largest distance of the distributions of two samples of masks' areas."""
    areas = (masks.mean((1, 2)) for masks in (ours, theirs))
    return stats.ks_2samp(*areas, method="asymp").statistic


def test_mask_areas_are_distributed_as_in_a_numpy_transcription(transcribed):
    ours = drawn(lambda seed: perlin_mask(seed, (SMALL, SMALL)))
    assert distance(ours, transcribed[2]) < TWO_SAMPLES_LIMIT


def test_equation_1_areas_are_distributed_as_in_a_numpy_transcription(masks, transcribed):
    first, second, _ = transcribed
    half = np.random.default_rng(1).random((DRAWS, 1, 1)) < 0.5
    theirs = np.where(half, first & second, first | second) & FOREGROUND
    assert distance(masks["inside"], theirs) < TWO_SAMPLES_LIMIT


@pytest.mark.parametrize("exponents", [(0, 5), (2, 3), (5, 1)])
def test_noise_on_a_given_lattice_equals_the_numpy_transcription(monkeypatch, exponents):
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, (33, 33)).astype(np.float32)

    def given(shape, *_):
        return tf.constant(exponents) if shape == [2] else tf.constant(angles)

    monkeypatch.setattr(tf.random, "stateless_uniform", given)
    (expected,) = numpy_noise(2 ** np.array([exponents]), angles[None], SIZE)
    np.testing.assert_allclose(perlin_noise(tf.constant([3, 4]), SIZE), expected, atol=1e-5)


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


def test_equation_1_chooses_intersection_or_union_half_the_time(masks):
    assert (masks["intersection"] == masks["first"] & masks["second"]).all()
    assert (masks["union"] == masks["first"] | masks["second"]).all()
    is_union = (masks["paper"] == masks["union"]).all((1, 2))
    is_intersection = (masks["paper"] == masks["intersection"]).all((1, 2))
    assert (is_union | is_intersection).all()
    differ = ~(masks["union"] == masks["intersection"]).all((1, 2))
    assert abs(is_union[differ].mean() - 0.5) < 3.3 * 0.5 / np.sqrt(differ.sum())


def test_the_released_code_draws_four_kinds_of_mask_equally(masks):
    of_kinds = [masks[kind] for kind in MASK_KINDS]
    is_kind = np.stack([(masks["released"] == mask).all((1, 2)) for mask in of_kinds])
    told_apart = is_kind.sum(0) == 1  # the four masks differ from the one that was drawn
    distinct = np.ones(DRAWS, bool)
    for one, other in itertools.combinations(of_kinds, 2):
        distinct &= (one != other).any((1, 2))
    assert told_apart[distinct].all()
    shares = is_kind[:, distinct].mean(1)
    assert np.abs(shares - 0.25).max() < 3.5 * np.sqrt(0.25 * 0.75 / distinct.sum())


def test_masks_are_rotated_by_uniform_angles(monkeypatch):
    """The noise is replaced by half a disk, whose centre of mass tells how it was rotated."""
    y, x = np.mgrid[:SMALL, :SMALL] - (SMALL - 1) / 2
    half_disk = tf.constant((np.hypot(y, x) < SMALL / 2) & (x > 0), tf.float32)
    monkeypatch.setattr(data.perlin, "perlin_noise", lambda seed, size: half_disk)
    halves = drawn(lambda seed: perlin_mask(seed, (SMALL, SMALL)))
    angles = np.arctan2((halves * y).sum((1, 2)), (halves * x).sum((1, 2)))
    uniform = stats.uniform(-np.pi / 2, np.pi)
    assert stats.kstest(angles, uniform.cdf).statistic < ONE_SAMPLE_LIMIT


@pytest.mark.parametrize(("level", "exceeds"), [(0.49, False), (0.51, True)])
def test_masks_are_where_the_noise_exceeds_one_half(monkeypatch, level, exceeds):
    monkeypatch.setattr(data.perlin, "perlin_noise", lambda seed, size: tf.fill([size] * 2, level))
    mask = perlin_mask(tf.constant([3, 4]), (SMALL, SMALL)).numpy()
    assert mask.any() == mask[8:24, 8:24].all() == exceeds


def test_masks_stay_inside_the_foreground(masks):
    assert masks["inside"].any()
    np.testing.assert_array_equal(masks["inside"], masks["paper"] & FOREGROUND)


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

    def draw(seed):
        anomaly = synthesize(normal, texture, everywhere, seed, options)
        return anomaly.image[..., 0], anomaly.masks.mask, anomaly.opacity

    images, masks, opacities = drawn(draw)
    assert stats.kstest(opacities, stats.uniform(0.15, 0.85).cdf).statistic < ONE_SAMPLE_LIMIT
    gap = 7 / DRAWS  # between the bounds and the outermost draws, but for 0.1 % of all cases
    assert 0.15 <= opacities.min() < 0.15 + gap
    assert 1 - gap < opacities.max() <= 1
    assert (images[~masks] == 0).all()
    weights = opacities if opacity_of == "texture" else 1 - opacities
    expected = np.broadcast_to(weights[:, None, None] * 255, images.shape)
    np.testing.assert_allclose(images[masks], expected[masks], atol=0.501)


def test_an_empty_mask_leaves_the_image_as_it_was():
    normal = tf.constant(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8))
    nothing = tf.zeros([SIZE, SIZE], tf.bool)
    anomaly = synthesize(normal, 255 - normal, nothing, tf.constant([1, 2]), SynthesisOptions())
    assert not anomaly.masks.mask.numpy().any()
    np.testing.assert_array_equal(anomaly.image, normal)
