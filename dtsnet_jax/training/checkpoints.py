"""Saving and loading what training has come to; the only file that knows Orbax.

A checkpoint is the directory 'STEP' with the parts 'weights' and 'rest', so that what only scores
does not read the optimiser's state, and their 'checksums', since Orbax keeps none of the numbers.
Orbax writes it under a temporary name and renames it, so the newest directory whose name is a
number is whole.
"""

import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from dtsnet_jax.devices.processes import from_first, together
from dtsnet_jax.errors import Interrupted, UserError, first_line
from dtsnet_jax.training.step import PyTree, TrainState

GO_ON = "delete this folder, and --job=train goes on from an older one or from the beginning"
_OF_THE_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_OF_THE_MACHINE = (OSError, MemoryError, jax.errors.JaxRuntimeError)
_OF_THE_USER = (Interrupted, KeyboardInterrupt)


class Checkpoints:
    """The checkpoints of one run, to be written: in the background, the last N kept.

    Only who trains may open a directory so, since what was left half-written is removed.
    """

    def __init__(self, directory: Path, *, keep: int):
        """Opens a directory, which is made where it does not exist.

        Args:
          directory: holds one folder a checkpoint.
          keep: how many of the newest are kept.
        """
        self._directory = directory
        self._checkpointer = ocp.training.Checkpointer(
            directory.resolve(),
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=ocp.training.preservation_policies.LatestN(keep),
            cleanup_tmp_directories=True,
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        with self._writing():
            self._checkpointer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:  # TensorStore has no class of its own
            raise UserError(
                f"a checkpoint could not be written to '{self._directory}' ({first_line(error)}); "
                "make room; the same command then continues from the last checkpoint."
            ) from error

    def save(self, step: int, state: TrainState) -> None:
        """Begins to save ``state``; a checkpoint of the same step is left as it is.

        Waits for the state, takes its checksums and copies it, so it may be donated at once.
        """
        if step not in self._steps():
            parts = {"weights": _weights(state), "rest": _rest(state)}
            checksums = {name: _checksum(part) for name, part in parts.items()}
            with self._writing(), _first_replica():
                self._checkpointer.save_checkpointables_async(
                    step, parts | {"checksums": checksums}
                )

    def wait(self) -> None:
        """Returns when what was begun is on the disk."""
        with self._writing():
            self._checkpointer.wait()

    def _steps(self) -> list[int]:
        return [checkpoint.step for checkpoint in self._checkpointer.checkpoints]


def load_state(directory: Path, step: int, like: TrainState) -> TrainState:
    """Loads all of a checkpoint, on all processes or on none.

    Args:
      directory: holds one folder a checkpoint.
      step: which one.
      like: shapes, dtypes and places of the arrays.

    Raises:
      UserError: it is gone or damaged.
    """
    loaded = _load(directory / str(step), {"weights": _weights(like), "rest": _rest(like)}, GO_ON)
    scoring, rest = _pair(loaded["weights"]), loaded["rest"]
    trained, average = scoring, None
    if like.average is not None:
        trained, average = _pair(rest), scoring
    return TrainState(rest["step"], *trained, rest["optimizer_state"], average)


def load_weights(
    directory: Path, step: int, like: TrainState, *, advice: str = GO_ON
) -> tuple[PyTree, PyTree]:
    """Loads the parameters and batch statistics that score, see ``load_state``.

    Args:
      directory, step, like: as there.
      advice: what to do if it is damaged.
    """
    return _pair(_load(directory / str(step), {"weights": _weights(like)}, advice)["weights"])


def _load(path: Path, wanted: dict[str, PyTree], advice: str) -> dict[str, PyTree]:
    """Loads parts of a checkpoint and compares them with its checksums, where it has the folder."""
    # Earlier versions wrote none.
    checksums = {"checksums": None} if from_first((path / "checksums").is_dir) else {}

    def load() -> dict[str, PyTree]:
        try:
            with _silent_tasks():
                loaded = ocp.load_checkpointables(path.resolve(), wanted | checksums)
            for name in wanted if checksums else ():
                if _checksum(loaded[name]) != loaded["checksums"][name]:
                    raise ValueError(f"its {name} are not what was written")
        except (OSError, ValueError, LookupError, RuntimeError) as error:
            raise _refusal(error, path, advice) from None
        return loaded

    return together(load)


def _first_replica() -> ocp.Context:
    """Writes what checksums are taken of, the first device's arrays, and no share of each one's."""
    context = ocp.Context()
    context.array.saving.use_replica_parallel = False
    return context


def _refusal(error: Exception, path: Path, advice: str) -> BaseException:
    """What ended a load in truth: Orbax makes an error of its own of it, whatever it was."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    if any(isinstance(link, TimeoutError) for link in links):
        return UserError(
            f"checkpoint '{path}' was not read by all processes; another one says why or has ended."
        )
    for link in links:
        if isinstance(link, _OF_THE_MACHINE + _OF_THE_USER) and not isinstance(link, _OF_THE_FILE):
            return link
    reason = f"{type(links[-1]).__name__}: {first_line(links[-1])}"
    return UserError(f"checkpoint '{path}' cannot be read ({reason}); if it is damaged, {advice}.")


@contextmanager
def _silent_tasks() -> Iterator[None]:
    """Where one array cannot be read, asyncio would print a traceback for each of the others."""
    logger = logging.getLogger("asyncio")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _checksum(part: PyTree) -> int:
    """The CRC-32 of the bytes of a part's arrays, as the first device has them."""
    checksum = 0
    for array in jax.tree.leaves(part):
        numbers = np.asarray(array.addressable_data(0))  # the copy goes with it
        checksum = zlib.crc32(np.ascontiguousarray(numbers).view(np.uint8), checksum)
    return checksum


def _weights(state: TrainState) -> dict[str, PyTree]:
    return _named(state.scoring)


def _rest(state: TrainState) -> dict[str, PyTree]:
    rest = {"step": state.step, "optimizer_state": state.optimizer_state}
    return rest if state.average is None else rest | _named((state.params, state.batch_stats))


def _named(pair: tuple[PyTree, PyTree]) -> dict[str, PyTree]:
    params, batch_stats = pair
    return {"params": params, "batch_stats": batch_stats}


def _pair(named: dict[str, PyTree]) -> tuple[PyTree, PyTree]:
    return named["params"], named["batch_stats"]
