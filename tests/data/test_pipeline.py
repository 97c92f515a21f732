import hashlib

import numpy as np
import pytest

from data.images import TrainingImages
from data.options import SynthesisOptions
from data.pipeline import sample_function, training_batches
from data.tf import tf

COUNT, SIZE = 7, 32


def images(every=2, foreground=None):
    """Images whose first pixel tells which image it is."""
    generator = np.random.default_rng(0)
    normal = generator.integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)
    normal[:, 0, 0, 0] = np.arange(COUNT)
    textures = generator.integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    return TrainingImages(normal, foreground, textures if every else None)


def batches(first=0, last=6, *, batch_size=8, every=2, seed=1, process=(0, 1), foreground=None):
    return list(
        training_batches(
            images(every, foreground),
            batch_size=batch_size,
            synthesize_every=every,
            options=SynthesisOptions(),
            seed=seed,
            first_step=first,
            last_step=last,
            process_index=process[0],
            process_count=process[1],
        )
    )


def batches_digest():
    digest = hashlib.sha256()
    for batch in batches():
        for name in sorted(batch):
            digest.update(batch[name].tobytes())
    return digest.hexdigest()


def order(some_batches):
    return np.concatenate([b["normal"][:, 0, 0, 0] for b in some_batches])


def test_every_image_occurs_exactly_once_an_epoch():
    drawn = order(batches(last=7))  # 56 positions, 8 epochs of 7
    epochs = drawn.reshape(8, COUNT)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(COUNT), (8, 1)))
    assert len({tuple(epoch) for epoch in epochs}) > 4
    assert (order(batches(last=7, seed=2)) != drawn).any()


@pytest.mark.parametrize(("every", "synthesised"), [(1, 8), (2, 4), (4, 2)])
def test_the_last_of_each_group_is_synthesised(every, synthesised):
    for batch in batches(every=every):
        assert batch["normal"].shape == (8, SIZE, SIZE, 3)
        assert batch["synthetic"].shape == (synthesised, SIZE, SIZE, 3)
        origin, mask = batch["normal"][every - 1 :: every], batch["mask"]
        np.testing.assert_array_equal(batch["synthetic"][~mask], origin[~mask])
    assert any(
        (b["synthetic"] != b["normal"][every - 1 :: every]).any() for b in batches(every=every)
    )


def test_nothing_is_synthesised_on_request():
    assert all(set(b) == {"normal", "index"} for b in batches(every=0))


def test_the_index_tells_which_images_were_drawn():
    for batch in batches(every=2):
        np.testing.assert_array_equal(batch["index"], batch["normal"][:, 0, 0, 0])


def test_a_resumed_stream_continues_identically():
    for a, b in zip(batches(first=3), batches()[3:], strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_processes_share_the_same_batches():
    parts = [batches(process=(index, 2)) for index in range(2)]
    for whole, first, second in zip(batches(), *parts, strict=True):
        for name in whole:
            np.testing.assert_array_equal(whole[name], np.concatenate([first[name], second[name]]))


def test_samples_do_not_depend_on_the_batch_size():
    small, large = batches(last=8, batch_size=4), batches(last=4, batch_size=8)
    for name in ("normal", "synthetic", "mask"):
        np.testing.assert_array_equal(
            np.concatenate([b[name] for b in small]), np.concatenate([b[name] for b in large])
        )


def test_each_image_keeps_its_own_foreground():
    foreground = np.zeros((COUNT, SIZE, SIZE), bool)
    for index in range(COUNT):
        foreground[index, 4 * index : 4 * index + 8] = True
    found = 0
    for batch in batches(last=40, foreground=foreground):
        own = foreground[batch["normal"][1::2, 0, 0, 0]]
        assert not (batch["mask"] & ~own).any()
        found += batch["mask"].any((1, 2)).sum()
    assert found > 20


def test_textures_are_drawn_uniformly_over_files():
    draw = tf.function(sample_function(images(), options=SynthesisOptions(), seed=1))
    counts = dict.fromkeys(range(3), 0)
    first_values = images().textures[:, 0, 0, 0].tolist()
    positions = tf.data.Dataset.range(3000).map(lambda p: draw(p, synthesized=True)["texture"])
    for texture in positions.as_numpy_iterator():
        counts[first_values.index(texture[0, 0, 0])] += 1
    assert max(abs(count - 1000) for count in counts.values()) < 3.5 * np.sqrt(3000 * 2 / 9)


def test_the_preview_draws_what_training_draws():
    draw = sample_function(images(), options=SynthesisOptions(), seed=1)
    for index, batch in enumerate(batches(last=2)):
        for within in range(4):
            position = tf.constant(8 * index + 2 * within + 1, tf.int64)
            sample = draw(position, synthesized=True)
            for name in ("synthetic", "mask"):
                np.testing.assert_array_equal(sample[name], batch[name][within])


@pytest.mark.parametrize("workers", [1, 5])
def test_samples_do_not_depend_on_the_number_of_workers(monkeypatch, workers):
    expected = batches_digest()
    prefetch, counts = tf.data.Dataset.prefetch, []

    def prefetch_by_workers(dataset, count):
        options = tf.data.Options()
        options.threading.private_threadpool_size = workers
        counts.append(workers)
        return prefetch(dataset.with_options(options), count)

    monkeypatch.setattr(tf.data.Dataset, "prefetch", prefetch_by_workers)
    monkeypatch.setattr(tf.data, "AUTOTUNE", workers)
    assert batches_digest() == expected
    assert counts == [workers]
