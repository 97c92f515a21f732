"""Augmentation against NumPy and SciPy, and what it leaves as it is."""

import itertools

import numpy as np
import pytest
from scipy import ndimage, stats

import data.augment
from data.augment import augment
from data.images import TrainingImages
from data.options import AUGMENTATIONS, SynthesisOptions
from data.pipeline import sample_function, synthesized_samples, training_batches
from data.synthesis import synthesize
from data.tf import tf
from dtsnet_jax.inputs.catalogs import chosen_catalogs
from dtsnet_jax.inputs.store import Images
from dtsnet_jax.jobs import preview
from tests.helpers import small_config

SIZE = 32
DRAWS = 400
FOREGROUND = np.zeros((SIZE, SIZE), bool)
FOREGROUND[3:20, 8:30] = True
IMAGE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
IMAGE[..., 0] = 255 * FOREGROUND  # the red channel shows where the foreground goes


def drawn(kinds, image=IMAGE, mask=FOREGROUND, count=DRAWS):
    """Images and masks that ``count`` seeds give."""

    @tf.function
    def draw(seeds):
        types = (tf.TensorSpec(image.shape, tf.uint8), tf.TensorSpec(mask.shape, tf.bool))
        return tf.map_fn(
            lambda seed: augment(tf.constant(image), tf.constant(mask), seed, kinds),
            seeds,
            fn_output_signature=types,
        )

    images, masks = draw(tf.stack([tf.fill([count], 7), tf.range(count)], axis=1))
    return images.numpy(), masks.numpy()


def given(value):
    """In place of ``stateless_uniform``: draws this."""
    return lambda *_, **__: tf.constant(value)


def counts(images, outcomes):
    """How often each outcome occurs; together they are all that occurs."""
    matches = (images[:, None] == np.stack(outcomes)).all((2, 3, 4))
    assert (matches.sum(1) == 1).all()
    return matches.sum(0)


def test_nothing_is_changed_by_nothing():
    image, mask = augment(tf.constant(IMAGE), tf.constant(FOREGROUND), tf.constant([1, 2]), ())
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(mask, FOREGROUND)


@pytest.mark.parametrize(
    ("kind", "outcomes"),
    [
        ("flips", [IMAGE, IMAGE[::-1], IMAGE[:, ::-1], IMAGE[::-1, ::-1]]),
        ("quarter_turns", [np.rot90(IMAGE, quarters) for quarters in range(4)]),
    ],
)
def test_each_of_four_outcomes_is_as_likely(kind, outcomes):
    images, masks = drawn((kind,))
    np.testing.assert_array_equal(images[..., 0] == 255, masks)
    assert stats.chisquare(counts(images, outcomes)).pvalue > 0.001


def test_flips_take_rectangles():
    image, mask = IMAGE[:20], FOREGROUND[:20]
    images, masks = drawn(("flips",), image, mask, count=40)
    counts(images, [image, image[::-1], image[:, ::-1], image[::-1, ::-1]])
    np.testing.assert_array_equal(images[..., 0] == 255, masks)


@pytest.mark.parametrize("height", [SIZE, 20])
@pytest.mark.parametrize("degrees", [-10.0, 3.0, 7.5])
def test_rotation_equals_scipys(monkeypatch, degrees, height):
    monkeypatch.setattr(tf.random, "stateless_uniform", given(np.float32(np.radians(degrees))))
    image, mask = IMAGE[:height], FOREGROUND[:height]
    ours, ours_mask = augment(
        tf.constant(image), tf.constant(mask), tf.constant([1, 2]), ("rotations",)
    )

    def theirs(pixels, order):
        return ndimage.rotate(pixels, degrees, reshape=False, order=order, mode="reflect")

    np.testing.assert_allclose(ours, theirs(image.astype(float), 1), atol=0.51)
    assert (ours_mask == theirs(mask.astype(np.uint8), 0)).numpy().mean() > 0.995


def test_rotation_angles_are_uniform_in_ten_degrees():
    """The centre of mass of half a disk tells the angle."""
    y, x = np.mgrid[:64, :64] - 31.5
    half_disk = (np.hypot(y, x) < 30) & (x > 0)
    image = np.repeat(255 * half_disk[..., None], 3, axis=2).astype(np.uint8)
    images, _ = drawn(("rotations",), image, half_disk)
    weights = images[..., 0].astype(float)
    angles = np.arctan2((weights * y).sum((1, 2)), (weights * x).sum((1, 2)))
    uniform = stats.uniform(-np.radians(10), np.radians(20))
    assert stats.kstest(angles, uniform.cdf).pvalue > 0.001
    assert np.abs(np.degrees(angles)).max() < 10.1


def test_brightness_is_one_factor_for_all_pixels(monkeypatch):
    for factor in (0.9, 1.07):
        monkeypatch.setattr(tf.random, "stateless_uniform", given(np.float32(factor)))
        ours, mask = augment(
            tf.constant(IMAGE), tf.constant(FOREGROUND), tf.constant([1, 2]), ("brightness",)
        )
        expected = np.clip(np.round(IMAGE * np.float32(factor)), 0, 255)
        np.testing.assert_array_equal(ours, expected)
        np.testing.assert_array_equal(mask, FOREGROUND)


def test_brightness_factors_are_uniform_in_a_tenth_around_one():
    image = np.full((2, 2, 3), 200, np.uint8)
    images, _ = drawn(("brightness",), image, np.ones((2, 2), bool))
    factors = images[:, 0, 0, 0] / 200
    assert 0.9 <= factors.min() < 0.91 and 1.09 < factors.max() <= 1.1
    assert factors.mean() == pytest.approx(1, abs=3.5 * 0.2 / np.sqrt(12 * DRAWS))


def test_the_mask_stays_aligned_with_the_image():
    images, masks = drawn(("flips", "quarter_turns", "rotations"))
    red = images[..., 0]
    assert masks[red == 255].all()
    assert not masks[red == 0].any()
    assert len(np.unique(masks.reshape(DRAWS, -1), axis=0)) > DRAWS / 2


def test_results_follow_from_the_seed():
    first, second = drawn(AUGMENTATIONS, count=20), drawn(AUGMENTATIONS[::-1], count=20)
    for ours, expected in zip(first, second, strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert len(np.unique(first[0].reshape(20, -1), axis=0)) == 20


def test_what_one_kind_draws_does_not_depend_on_the_others(monkeypatch):
    seeds = {}
    for kinds in [*((kind,) for kind in AUGMENTATIONS), AUGMENTATIONS]:
        for name in ("flip", "turn", "rotate_a_little", "change_brightness"):

            def note(image, mask, seed, key=(name, kinds == AUGMENTATIONS)):
                seeds[key] = tuple(seed.numpy())
                return image, mask

            monkeypatch.setattr(data.augment, name, note)
        augment(tf.constant(IMAGE), tf.constant(FOREGROUND), tf.constant([1, 2]), kinds)
    alone, together = ({n: s for (n, all_), s in seeds.items() if all_ is w} for w in (False, True))
    assert alone == together
    assert len(set(alone.values())) == len(AUGMENTATIONS)


COUNT = 5


def training_images():
    """Normal images with foregrounds, which their red channels show."""
    generator = np.random.default_rng(1)
    normal = generator.integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)
    foreground = np.stack([np.roll(FOREGROUND, index, axis=(0, 1)) for index in range(COUNT)])
    normal[..., 0] = 255 * foreground
    return TrainingImages(
        normal, foreground, generator.integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    )


def batches(first=0, last=4, *, every=2, process=(0, 1), augmentations=AUGMENTATIONS):
    return list(
        training_batches(
            training_images(),
            batch_size=8,
            synthesize_every=every,
            options=SynthesisOptions(),
            seed=1,
            first_step=first,
            last_step=last,
            process_index=process[0],
            process_count=process[1],
            augmentations=augmentations,
        )
    )


def assert_same(ours, expected):
    for one, other in zip(ours, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_every_sample_is_augmented():
    changed, plain = batches(), batches(augmentations=())
    for one, other in zip(changed, plain, strict=True):
        np.testing.assert_array_equal(one["index"], other["index"])
        assert (one["normal"] != other["normal"]).any((1, 2, 3)).all()
        np.testing.assert_array_equal(other["normal"], training_images().normal[other["index"]])
    assert_same(
        [{"normal": b["normal"]} for b in batches(every=0)],
        [{"normal": b["normal"]} for b in changed],
    )


def test_a_resumed_stream_continues_identically():
    assert_same(batches(first=2), batches()[2:])


def test_processes_share_the_same_batches():
    parts = [batches(process=(index, 2)) for index in range(2)]
    joined = [
        {name: np.concatenate([one[name], other[name]]) for name in one}
        for one, other in zip(*parts, strict=True)
    ]
    assert_same(joined, batches())


def test_anomalies_lie_in_the_augmented_foreground_of_the_augmented_image():
    samples = synthesized_samples(
        training_images(),
        synthesize_every=2,
        options=SynthesisOptions(masks=("union",)),
        seed=1,
        augmentations=("flips", "quarter_turns", "rotations"),
    )
    found = 0
    for sample in itertools.islice(samples, 40):
        mask, foreground, red = sample["mask"], sample["foreground"], sample["normal"][..., 0]
        assert foreground[red == 255].all() and not foreground[red == 0].any()
        assert not (mask & ~foreground).any()
        np.testing.assert_array_equal(sample["synthetic"][~mask], sample["normal"][~mask])
        found += mask.any()
    assert found > 20


def test_without_augmentation_samples_are_what_they_have_always_been():
    """Their seeds are the halves of (seed, position), in which augmentation has no part."""
    images = training_images()
    draw = sample_function(images, options=SynthesisOptions(), seed=1)
    for position in range(6):
        sample = draw(tf.constant(position, tf.int64), synthesized=True)
        index = sample["index"].numpy()
        seed_texture, seed_anomaly = tf.unstack(
            tf.random.split(tf.constant([1, position], tf.int64), 2)
        )
        texture = tf.random.stateless_uniform([], seed_texture, 0, 3, tf.int32).numpy()
        anomaly = synthesize(
            tf.constant(images.normal[index]),
            tf.constant(images.textures[texture]),
            tf.constant(images.foreground[index]),
            seed_anomaly,
            SynthesisOptions(),
        )
        np.testing.assert_array_equal(sample["synthetic"], anomaly.image)
        np.testing.assert_array_equal(sample["mask"], anomaly.masks.mask)


def test_augmentation_changes_no_other_draw():
    plain, augmented = (
        sample_function(
            training_images(), options=SynthesisOptions(), seed=1, augmentations=augmentations
        )(tf.constant(3, tf.int64), synthesized=True)
        for augmentations in ((), AUGMENTATIONS)
    )
    for name in ("index", "texture", "first", "second", "opacity"):
        np.testing.assert_array_equal(plain[name], augmented[name])


def test_training_and_preview_do_what_the_configuration_says(own_images):
    config = small_config(own_images, train__augment=("flips",))
    (catalog,) = chosen_catalogs(config)
    images = Images().of(config, catalog)
    (batch,) = images.batches(
        seed=config.seeds[0], batch_size=16, accumulate=1, first_step=0, last_step=1
    )
    normal, origin = batch["normal"][0], images.training.normal[batch["index"][0]]
    outcomes = [origin, origin[:, ::-1], origin[:, :, ::-1], origin[:, ::-1, ::-1]]
    same = np.array([(normal == outcome).all((1, 2, 3)) for outcome in outcomes])
    assert (same.sum(0) == 1).all() and (same.sum(1) < 16).all()
    rows = preview._rows(config, images.training)
    np.testing.assert_array_equal([row[0] for row in rows], normal[1::2])
    np.testing.assert_array_equal([row[-1] for row in rows], batch["synthetic"][0])
