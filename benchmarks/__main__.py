"""Every benchmark, one after the other: ``python -m benchmarks > table.md``.

On a CPU float32 with the batches that it can bear, on a GPU bfloat16 as well. Needs
requirements-dev.txt.
"""

import importlib.metadata
import os
import platform
import subprocess
import sys

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # what it starts needs memory

import jax

from benchmarks.machine import processor

ON_CPU = (
    ("benchmarks.steps", "--backbone=resnet18", "--batch=16"),
    ("benchmarks.steps", "--backbone=wide_resnet50_2", "--batch=2", "--inference", "1"),
)
ON_GPU = tuple(
    ("benchmarks.steps", f"--backbone={name}", f"--batch={batch}", f"--precision={precision}",
     "--repeats=20", "--inference", "1", "16", "64", "256")
    for name in ("resnet18", "wide_resnet50_2")
    for precision, batch in (("float32", 16), ("bfloat16", 16), ("bfloat16", 64))
)  # fmt: skip
EVERYWHERE = (("benchmarks.jobs",), ("benchmarks.pipeline",), ("benchmarks.metrics",))
LIBRARIES = ("jax", "flax", "optax", "orbax-checkpoint", "torch", "tensorflow-cpu", "numpy")


def main() -> int:
    """Runs all in processes of their own; returns how many failed."""
    device, kind = jax.devices()[0].platform, jax.devices()[0].device_kind
    versions = []
    for library in LIBRARIES:
        try:
            versions.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {library}")
    print(f"{jax.device_count()} × {kind}, {len(os.sched_getaffinity(0))} cores of {processor()}, "
          f"Python {platform.python_version()}, {', '.join(versions)}\n", flush=True)  # fmt: skip
    failed = 0
    for module, *arguments in (*(ON_CPU if device == "cpu" else ON_GPU), *EVERYWHERE):
        print(f"`python -m {' '.join((module, *arguments))}`\n", flush=True)
        failed += subprocess.run([sys.executable, "-m", module, *arguments]).returncode != 0
        print(flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
