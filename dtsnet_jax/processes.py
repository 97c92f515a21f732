"""How XLA and several processes are set up before the first device is used, and who writes."""

import os
import sys
from importlib.metadata import version
from pathlib import Path

import jax
from jax.experimental import multihost_utils

from dtsnet_jax.errors import UserError


def choose_cpu_convolutions() -> None:
    """Sets XLA to the faster of its two libraries for convolutions on CPUs.

    Has to come before anything asks for devices. jaxlib 0.10 by default computes convolutions with
    YNNPACK, whose gradients of kernels are up to three times slower than Eigen's; see
    'benchmarks/RESULTS.md'. A choice that $XLA_FLAGS makes already is left alone.
    """
    if version("jaxlib").startswith("0.10."):
        flag = "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
        given = os.environ.get("XLA_FLAGS", "")
        if "ynn_fusion_type" not in given:
            os.environ["XLA_FLAGS"] = f"{given} {flag}".strip()


def start_processes(coordinator: str | None, count: int | None, index: int | None) -> None:
    """Connects this process with the others; has to come before anything asks for devices.

    Under SLURM with more than one task all of it follows from the environment. All processes but
    the first are silenced: they print nothing and write nothing but their part of a checkpoint.

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
    if not is_first():
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115, open until the process ends


def is_first() -> bool:
    """Whether this is the process that prints and writes results."""
    return jax.process_index() == 0


def wait_for_all(where: str) -> None:
    """Returns when every process has come here, so that files written before can be read."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)
