"""Saving and finding the state of a run; the only file that knows Orbax."""

from pathlib import Path

import jax
from orbax.checkpoint import v1 as ocp

from dtsnet_jax.processes import wait_for_all
from dtsnet_jax.step import TrainState


class Checkpoints:
    """The checkpoints of one run: written in the background, each whole or absent, last N kept."""

    def __init__(self, directory: Path, *, keep: int):
        """Opens a directory, which is made where it does not exist.

        Args:
          directory: holds one folder a checkpoint.
          keep: how many of the newest are kept.
        """
        self._checkpointer = ocp.training.Checkpointer(
            directory.resolve(),
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=ocp.training.preservation_policies.LatestN(keep),
            cleanup_tmp_directories=True,
        )

    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint, None without any."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def save(self, state: TrainState) -> None:
        """Begins to save ``state``; a checkpoint of the same step is left as it is.

        The arrays are copied before this returns, so the state may be donated at once.
        """
        step = int(state.step)
        if step != self.latest_step():
            self._checkpointer.save_async(step, state)

    def restore(self, like: TrainState) -> TrainState | None:
        """Loads the newest checkpoint, shaped and placed as ``like`` is; None without any."""
        if self.latest_step() is None:
            return None
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        return self._checkpointer.load(abstract_state=abstract)

    def close(self) -> None:
        """Waits for what is being written."""
        self._checkpointer.close()


def newest_step(directory: Path) -> int:
    """The step of the newest complete checkpoint in a directory; 0 where there is none."""
    exists = directory.is_dir()
    wait_for_all("newest step")  # or a faster process would make the directory before others look
    if not exists:
        return 0
    checkpoints = Checkpoints(directory, keep=1)
    try:
        return checkpoints.latest_step() or 0
    finally:
        checkpoints.close()
