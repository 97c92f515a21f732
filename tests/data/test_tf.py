"""What TensorFlow says when it is imported, and draws in a process that has just started."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from data.tf import _without_notices
from tests.data.test_pipeline import batches_digest
from tests.helpers import ROOT

ABORTED = """
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
UNTIL_A_SIGNAL = """
import os, signal
from data.tf import _without_notices
signal.signal(signal.SIGTERM, lambda *_: os.write(2, b"noted\\n"))
with _without_notices():
    os.killpg(0, signal.SIGTERM)
    os.write(2, b"E0000 a true error\\n")
"""
ERROR = "E0000 00:00:1763.5 42 cuda.cc:1] a true error\n"
NOTICES = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1763.5 42 port.cc:153] oneDNN custom operations are on.\n"
    "2025-11-25 13:00:00.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] optimized\n"
    "To enable the following instructions: AVX2 FMA, rebuild TensorFlow.\n"
)


@pytest.fixture(scope="module")
def fresh_process() -> SimpleNamespace:
    """What a process reports that imports jobs, then TensorFlow, draws batches and is aborted.

    It draws with one thread; its report is ``imported``, the modules of TensorFlow that the jobs
    have imported, ``batches_digest``, and ``stderr``.
    """
    one_thread = {"TF_NUM_INTEROP_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", ABORTED],
        cwd=ROOT,
        env=os.environ | one_thread,
        capture_output=True,
        text=True,
    )
    assert process.returncode < 0, process.stderr
    return SimpleNamespace(stderr=process.stderr, **json.loads(process.stdout))


def test_importing_tensorflow_says_nothing_and_an_aborted_import_its_last_words(fresh_process):
    assert fresh_process.stderr == "F0000 last words\n"


def test_jobs_that_synthesise_nothing_do_not_import_tensorflow(fresh_process):
    assert fresh_process.imported == []


def test_another_process_draws_the_same_samples(fresh_process):
    assert fresh_process.batches_digest == batches_digest()


def test_errors_are_passed_on_and_notices_are_not(capfd):
    with _without_notices():
        os.write(2, (NOTICES + ERROR + NOTICES + "ä\n" + ERROR).encode())
    os.write(2, NOTICES.encode())
    assert capfd.readouterr().err == ERROR + "ä\n" + ERROR + NOTICES


def test_lines_that_are_no_text_are_passed_on(capfdbinary):
    with _without_notices():
        os.write(2, b"E0000 cannot open \xff.so\n")
    assert capfdbinary.readouterr().err == b"E0000 cannot open \xff.so\n"


def test_errors_are_passed_on_when_the_import_fails(capfd):
    with pytest.raises(ImportError), _without_notices():
        os.write(2, (NOTICES + ERROR).encode())
        raise ImportError
    assert capfd.readouterr().err == ERROR


def test_a_signal_to_all_processes_of_a_job_leaves_the_filter_alone():
    process = subprocess.run(
        [sys.executable, "-c", UNTIL_A_SIGNAL],
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == "noted\nE0000 a true error\n"
