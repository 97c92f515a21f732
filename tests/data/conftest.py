"""A process that has just started, for what can be seen in such a one only."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.helpers import ROOT

_SCRIPT = """
import json, os, sys
import data.readers, dtsnet_jax.jobs.evaluate, dtsnet_jax.jobs.report
facts = {"imported": sorted({"tensorflow", "tensorflow_datasets"} & set(sys.modules))}
from data.tf import _without_notices
from tests.data.test_pipeline import batches_digest
facts["batches_digest"] = batches_digest()
print(json.dumps(facts), flush=True)
with _without_notices():
    os.write(2, b"I0000 a notice\\nF0000 last words\\n")
    os.abort()
"""


@pytest.fixture(scope="session")
def fresh_process() -> SimpleNamespace:
    """What a process reports that imports jobs, then TensorFlow, draws batches and is aborted.

    It draws with one thread; its report is ``imported``, the modules of TensorFlow that the jobs
    have imported, ``batches_digest``, and ``stderr``.
    """
    one_thread = {"TF_NUM_INTEROP_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        cwd=ROOT,
        env=os.environ | one_thread,
        capture_output=True,
        text=True,
    )
    assert process.returncode < 0, process.stderr
    return SimpleNamespace(stderr=process.stderr, **json.loads(process.stdout))
