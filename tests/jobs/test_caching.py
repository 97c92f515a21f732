"""Whether the teacher's features are kept is the run's decision, made once."""

import jax
import numpy as np
import pytest

from dtsnet_jax.errors import UserError
from dtsnet_jax.jobs.train import train
from dtsnet_jax.training import feature_cache
from tests.helpers import final_state, seed_run, small_config
from tests.signals import interrupt_after


@pytest.fixture
def free(monkeypatch):
    """Sets the bytes that are free on a device."""

    def set_free(count):
        monkeypatch.setattr(feature_cache, "_free_device_memory", lambda: count)

    return set_free


def test_a_run_that_began_without_goes_on_without(own_images, tmp_path, free):
    config = small_config(own_images)
    free(1000)
    with interrupt_after(3):
        train(config, tmp_path / "run")
    assert seed_run(tmp_path / "run").record()["cached_features"] is False
    train(config, tmp_path / "whole")
    free(10**9)
    train(config, tmp_path / "run")
    ours, expected = final_state(tmp_path / "run"), final_state(tmp_path / "whole")
    jax.tree.map(np.testing.assert_array_equal, ours, expected)


def test_a_run_that_began_with_needs_the_room_or_leave_to_go_without(
    own_images, tmp_path, free, capsys
):
    config = small_config(own_images)
    with interrupt_after(3):
        train(config, tmp_path)
    free(1000)
    with pytest.raises(UserError, match=r"no longer room.*--config\.train\.cache_teacher=False"):
        train(config, tmp_path)
    config.train.cache_teacher = False
    train(config, tmp_path)
    assert "without, the last digits may differ" in capsys.readouterr().out


def test_features_of_augmented_images_are_not_kept(own_images, tmp_path, capsys):
    config = small_config(
        own_images, train__epochs=1, train__augment=("flips", "rotations"), seeds=(0, 1)
    )
    train(config, tmp_path)
    printed = capsys.readouterr().out
    assert printed.count("train.augment is set: the teacher's features are not kept") == 1
    assert "kept there" not in printed
    for seed in (0, 1):
        assert seed_run(tmp_path, seed=seed).record()["cached_features"] is False


def test_how_many_images_are_scored_at_a_time_does_not_change_the_weights(
    own_images, trained_run, tmp_path
):
    train(small_config(own_images, scoring__batch_size=3, train__epochs=1), tmp_path / "threes")
    states = final_state(tmp_path / "threes"), final_state(trained_run)
    jax.tree.map(np.testing.assert_array_equal, *states)
