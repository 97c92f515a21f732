import os
import subprocess
import sys

import pytest

from data.tf import _without_notices

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


def test_importing_tensorflow_says_nothing_and_an_aborted_import_its_last_words(fresh_process):
    assert fresh_process.stderr == "F0000 last words\n"


def test_jobs_that_synthesise_nothing_do_not_import_tensorflow(fresh_process):
    assert fresh_process.imported == []


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
