"""What becomes of a run that is killed, interrupted, diverges, or is wanted twice at once."""

import os
import signal
import time

import jax
import numpy as np
import pytest

from dtsnet_jax.errors import Interrupted, UserError
from dtsnet_jax.jobs.evaluate import evaluate
from dtsnet_jax.jobs.train import train
from dtsnet_jax.seed_run import newest_step
from dtsnet_jax.training.checkpoints import Checkpoints
from dtsnet_jax.training.records import read_records
from tests.helpers import (
    assert_same_state,
    final_state,
    launch_small,
    only_result,
    seed_run,
    small_config,
)
from tests.signals import interrupt_after


def test_a_run_that_is_killed_and_interrupted_ends_with_the_same_weights(own_images, tmp_path):
    config = small_config(own_images, train__epochs=6)
    train(config, tmp_path / "whole")
    run = seed_run(tmp_path / "run")
    options = ("--config.train.epochs=6", "--config.train.checkpoint_minutes=0")
    process = launch_small(own_images, run.run, *options)
    while not newest_step(run.checkpoints) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err
    assert 0 < newest_step(run.checkpoints) < 11
    with interrupt_after(11):
        train(config, run.run)
    assert newest_step(run.checkpoints) == 11
    assert not (run.run / "results.json").exists()
    train(config, run.run)
    assert_same_state(final_state(run.run), final_state(tmp_path / "whole"))
    assert [r["step"] for r in read_records(run.directory)] == [2, 4, 6, 8, 10, 12]
    assert not [path for path in run.run.rglob("*") if "tmp" in path.name]
    assert not list(run.run.rglob(".*.partial"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_first_even_where_no_checkpoint_is_due(number, own_images, tmp_path):
    config = small_config(own_images)
    with interrupt_after(3, number) as interrupted:
        train(config, tmp_path)
    assert interrupted.value.signal == number
    assert newest_step(seed_run(tmp_path).checkpoints) == 3


def test_a_signal_while_the_last_checkpoint_is_written_waits_for_it(
    own_images, tmp_path, monkeypatch
):
    config = small_config(own_images)
    close = Checkpoints.__exit__

    def interrupted_close(checkpoints, *raised):
        os.kill(os.getpid(), signal.SIGTERM)
        close(checkpoints, *raised)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Checkpoints, "__exit__", interrupted_close)
        train(config, tmp_path)
    assert int(final_state(tmp_path).step) == 8
    assert only_result(train(config, tmp_path))["trained_to"] == 8


def test_two_launches_do_not_train_the_same_weights(own_images, tmp_path):
    with (
        seed_run(tmp_path).training(),
        pytest.raises(UserError, match="is being trained by another process"),
    ):
        train(small_config(own_images), tmp_path)


def test_an_evaluation_leaves_a_running_training_alone(own_images, trained_run):
    being_saved = seed_run(trained_run).checkpoints / "9.orbax-checkpoint-tmp"
    being_saved.mkdir()
    evaluate(small_config(own_images, train__epochs=1), trained_run)
    assert being_saved.is_dir()
    train(small_config(own_images, train__epochs=2), trained_run)
    assert not being_saved.exists()


def test_a_loss_that_is_not_finite_ends_training_at_once(own_images, tmp_path):
    config = small_config(own_images, train__learning_rate=1e30)
    config.train.checkpoint_minutes = 0.0
    with pytest.raises(UserError, match=r"diverged at step [2-9]: .*learning_rate=1e\+30") as error:
        train(config, tmp_path)
    good = newest_step(seed_run(tmp_path).checkpoints)
    assert f"that of step {good} in" in str(error.value)
    params = final_state(tmp_path).params
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
