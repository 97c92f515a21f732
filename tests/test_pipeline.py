import numpy as np
import pytest

from data.options import SynthesisOptions
from data.pipeline import TrainingImages, training_batches

COUNT, SIZE = 7, 32


def batches(first=0, last=6, *, batch_size=8, every=2, seed=1, process=(0, 1)):
    """Batches over images whose first pixel tells which image it is."""
    generator = np.random.default_rng(0)
    normal = generator.integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)
    normal[:, 0, 0, 0] = np.arange(COUNT)
    textures = generator.integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    return list(
        training_batches(
            TrainingImages(normal, None, textures if every else None),
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
    assert all(set(b) == {"normal"} for b in batches(every=0))


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
