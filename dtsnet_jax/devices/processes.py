"""How XLA and several processes are set up before the first device is used, and who writes."""

import json
import os
import socket
import sys
import zlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from dtsnet_jax.errors import UserError

_index = 0  # of this process
_on_this_machine = 1  # processes


def choose_cpu_convolutions() -> None:
    """Sets XLA to the faster of its two libraries for convolutions on CPUs.

    Has to come before anything asks for devices. jaxlib 0.10 by default computes convolutions with
    YNNPACK, whose gradients of kernels are up to three times slower than Eigen's, the default of
    later ones; see 'benchmarks/RESULTS.md'. A choice that $XLA_FLAGS makes already is left alone.
    """
    if version("jaxlib").startswith("0.10."):
        flag = "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
        given = os.environ.get("XLA_FLAGS", "")
        if "ynn_fusion_type" not in given:
            os.environ["XLA_FLAGS"] = f"{given} {flag}".strip()


def start_processes(coordinator: str | None, count: int | None, index: int | None) -> None:
    """Connects this process with the others; has to come before anything asks for devices.

    Under SLURM with more than one task all of it follows from the environment. All processes but
    the first are silenced: they print nothing and write nothing but their notes in a checkpoint.

    Args:
      coordinator: 'HOST:PORT' of the first process, None for a single process or SLURM.
      count: number of processes.
      index: which of them this is, from 0 on.

    Raises:
      UserError: only some of the three are given, or they contradict each other.
    """
    given = [value is not None for value in (coordinator, count, index)]
    in_slurm = "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1
    if any(given):
        if not all(given):
            raise UserError(
                "of --coordinator, --processes and --process only some are given; several "
                "processes need all three, one process needs none."
            )
        if count < 1 or not 0 <= index < count:
            raise UserError(
                f"--process is {index}, expected 0 to {count - 1} of --processes={count}."
            )
        jax.distributed.initialize(coordinator, count, index)
    elif in_slurm:
        jax.distributed.initialize()
    else:
        return
    global _index, _on_this_machine
    _index = jax.process_index()
    machine = zlib.crc32(socket.gethostname().encode())
    machines = multihost_utils.process_allgather(np.uint32(machine))
    _on_this_machine = int((machines == machine).sum())
    if not is_first():
        # Open until the process ends, and for any name.
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8", errors="replace")  # noqa: SIM115


def is_first() -> bool:
    """Whether this is the process that prints and writes results."""
    return _index == 0


def processes_here() -> int:
    """How many of the processes that train together run on this machine."""
    return _on_this_machine


def agreed(value: float) -> float:
    """What the first process says, on every process; all have to call it.

    What is read from a clock or a disk may differ between processes, and who then goes another way
    waits for the others for ever.
    """
    if jax.process_count() == 1:
        return value
    return multihost_utils.broadcast_one_to_all(np.float64(value)).item()


def from_first(read: Callable[[], Any]) -> Any:
    """What the first process reads, on every process; all have to call it.

    Disks that several machines share may show a file to one of them before the others.

    Args:
      read: returns what JSON can hold.
    """
    if jax.process_count() == 1:
        return read()
    text = json.dumps(read()).encode() if is_first() else b""
    length = int(agreed(len(text)))
    padded = np.frombuffer(text.ljust(length), np.uint8)[:length]
    return json.loads(multihost_utils.broadcast_one_to_all(padded).tobytes())


def largest(value: float) -> float:
    """The largest of all processes' values, on every process; all have to call it."""
    if jax.process_count() == 1:
        return value
    return float(multihost_utils.process_allgather(np.float64(value)).max())


def together(make: Callable[[], Any]) -> Any:
    """What a function makes; where it is refused on one process, it is refused on all of them.

    Raises:
      UserError: it was refused here or elsewhere.
    """
    error = None
    try:
        made = make()
    except UserError as refusal:
        error = refusal
    if largest(error is not None):
        raise error or UserError("another process cannot go on; its own message says why.")
    return made


def wait_for_all(where: str) -> None:
    """Returns when every process has come here, so that files written before can be read."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)
