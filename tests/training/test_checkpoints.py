"""Checkpoints give back what was saved, with averages and without."""

import shutil

import jax
import jax.numpy as jnp
import pytest

from dtsnet_jax.errors import UserError
from dtsnet_jax.training.checkpoints import Checkpoints, load_state, load_weights
from dtsnet_jax.training.step import TrainState
from tests.helpers import assert_same_state


def tree(number):
    return {"a": jnp.full((2, 3), number), "b": {"c": jnp.full(4, number + 0.5)}}


@pytest.mark.parametrize("average", [None, (tree(4.0), tree(5.0))])
def test_a_state_is_given_back_and_its_scoring_weights_alone(tmp_path, average):
    state = TrainState(jnp.int32(7), tree(1.0), tree(2.0), tree(3.0), average)
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(7, state)
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )
    assert_same_state(load_state(tmp_path, 7, like), state)
    assert_same_state(load_weights(tmp_path, 7, like), state.scoring)
    assert state.scoring == (average or (state.params, state.batch_stats))


@pytest.mark.parametrize("name", ["_METADATA", "manifest.ocdbt", "d/*"])
@pytest.mark.parametrize("kept", [0, 30])
def test_what_cannot_be_read_is_named(tmp_path, name, kept):
    state = TrainState(jnp.int32(7), tree(1.0), tree(2.0), tree(3.0))
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(7, state)
    (damaged,) = (tmp_path / "7" / "weights").glob(name)
    damaged.write_bytes(damaged.read_bytes()[:kept])
    for load in (load_state, load_weights):
        with pytest.raises(UserError, match=rf"'{tmp_path / '7'}' cannot be read \(.+\); .*delete"):
            load(tmp_path, 7, state)


def test_other_numbers_than_were_written_are_refused(tmp_path):
    """As bits on a disk change; Orbax itself reads them as other weights."""
    state = TrainState(jnp.int32(7), tree(1.0), tree(2.0), tree(3.0))
    other = TrainState(jnp.int32(7), tree(1.5), tree(2.0), tree(3.0))
    for name, saved in (("one", state), ("two", other)):
        with Checkpoints(tmp_path / name, keep=1) as checkpoints:
            checkpoints.save(7, saved)
    shutil.rmtree(tmp_path / "one" / "7" / "weights")
    (tmp_path / "two" / "7" / "weights").rename(tmp_path / "one" / "7" / "weights")
    for load in (load_state, load_weights):
        with pytest.raises(UserError, match="its weights are not what was written"):
            load(tmp_path / "one", 7, state)


def test_a_checkpoint_of_earlier_versions_has_no_checksums(tmp_path):
    state = TrainState(jnp.int32(7), tree(1.0), tree(2.0), tree(3.0))
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(7, state)
    shutil.rmtree(tmp_path / "7" / "checksums")
    assert_same_state(load_state(tmp_path, 7, state), state)
