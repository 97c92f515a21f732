"""Checkpoints give back what was saved, with averages and without."""

import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from dtsnet_jax.errors import Interrupted, UserError
from dtsnet_jax.training import checkpoints as checkpoints_module
from dtsnet_jax.training.checkpoints import GO_ON, Checkpoints, load_state, load_weights
from dtsnet_jax.training.step import TrainState
from tests.helpers import assert_same_state


def tree(number):
    return {"a": jnp.full((2, 3), number), "b": {"c": jnp.full(4, number + 0.5)}}


STATE = TrainState(jnp.int32(7), tree(1.0), tree(2.0), tree(3.0))


def save(directory, state=STATE):
    with Checkpoints(directory, keep=1) as checkpoints:
        checkpoints.save(7, state)
    return directory / "7"


@pytest.mark.parametrize("average", [None, (tree(4.0), tree(5.0))])
def test_a_state_is_given_back_and_its_scoring_weights_alone(tmp_path, average):
    state = replace(STATE, average=average)
    save(tmp_path, state)
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )
    assert_same_state(load_state(tmp_path, 7, like), state)
    assert_same_state(load_weights(tmp_path, 7, like), state.scoring)
    assert state.scoring == (average or (state.params, state.batch_stats))


@pytest.mark.parametrize("name", ["_METADATA", "manifest.ocdbt", "d/*"])
@pytest.mark.parametrize("kept", [0, 30])
def test_what_cannot_be_read_is_named_with_what_to_do(tmp_path, capfd, name, kept):
    (damaged,) = (save(tmp_path) / "weights").glob(name)
    damaged.write_bytes(damaged.read_bytes()[:kept])
    sentence = rf"'{tmp_path / '7'}' cannot be read \(\w+: .+\); if it is damaged, "
    with pytest.raises(UserError, match=f"{sentence}{GO_ON}."):
        load_state(tmp_path, 7, STATE)
    with pytest.raises(UserError, match=f"{sentence}start anew."):
        load_weights(tmp_path, 7, STATE, advice="start anew")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("part", ["weights", "rest"])
@pytest.mark.parametrize("average", [None, (tree(4.0), tree(5.0))])
def test_other_numbers_than_were_written_are_refused(tmp_path, part, average):
    """As bits on a disk change; Orbax itself reads them as other weights."""
    state = replace(STATE, average=average)
    other = jax.tree.map(lambda x: x + 1, state)
    one, two = save(tmp_path / "one", state), save(tmp_path / "two", other)
    assert_same_state(load_state(tmp_path / "one", 7, state), state)
    shutil.rmtree(one / part)
    (two / part).rename(one / part)
    with pytest.raises(UserError, match=f"its {part} are not what was written"):
        load_state(tmp_path / "one", 7, state)
    if part == "rest":
        assert_same_state(load_weights(tmp_path / "one", 7, state), state.scoring)


def test_a_checkpoint_of_earlier_versions_has_no_checksums(tmp_path):
    shutil.rmtree(save(tmp_path) / "checksums")
    assert_same_state(load_state(tmp_path, 7, STATE), STATE)


def test_a_checkpoint_without_the_checksum_of_a_part_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints_module, "_checksum", lambda _: None)
        save(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        load_weights(tmp_path, 7, STATE)


@pytest.mark.parametrize("inside", [None, KeyError("x")])
@pytest.mark.parametrize(
    "error", [Interrupted(15), MemoryError(), PermissionError(13, "no"), OSError(24, "too many")]
)
def test_what_says_nothing_about_the_checkpoint_is_not_blamed_on_it(
    tmp_path, monkeypatch, error, inside
):
    """Orbax makes its own error of whatever ends a load, a signal included."""
    save(tmp_path)

    def ended(*_, **__):
        try:
            if inside is not None:
                raise inside
        finally:
            raise error  # as where a signal comes while something else is handled

    monkeypatch.setattr("tensorstore.open", ended)
    with pytest.raises(type(error)) as caught:
        load_weights(tmp_path, 7, STATE)
    assert caught.value is error


def test_a_process_that_waits_for_another_in_vain_does_not_blame_the_checkpoint(
    tmp_path, monkeypatch
):
    save(tmp_path)

    def waited(*_, **__):
        raise TimeoutError("at the barrier")

    monkeypatch.setattr("orbax.checkpoint.v1.load_checkpointables", waited)
    with pytest.raises(UserError, match="not read by all processes"):
        load_weights(tmp_path, 7, STATE)
