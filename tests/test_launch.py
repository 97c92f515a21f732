"""The command line: mistakes get one sentence, signals their exit code."""

import json
import subprocess
import sys

import pytest

from tests.helpers import ROOT

MISTAKES = {
    "a misspelt field": (["--config=configs/demo.py", "--config.train.epoch=3"], "epochs"),
    "an unknown backbone": (
        ["--config=configs/demo.py", "--config.encoder.name=resnet19"],
        "resnet18",
    ),
    "an unknown category": (["--config=configs/demo.py", "--config.data.category=momo"], "mono"),
    "an unknown variant": (["--config=configs/demo.py:offical"], "official"),
    "an unknown row": (["--config=configs/demo.py:paper", "--config.rows=('papr',)"], "paper"),
    "rows of a variant": (["--config=configs/demo.py", "--config.rows=('rd',)"], "robust"),
    "a row twice": (
        ["--config=configs/demo.py:paper", "--config.rows=('rd','rd')"],
        "each variant once",
    ),
    "a seed twice": (["--config=configs/demo.py", "--config.seeds=(1,1)"], "seeds"),
    "nothing to choose the best from": (
        ["--config=configs/demo.py", "--config.protocol=best_on_test"],
        "evaluate_every",
    ),
    "a file that does not exist": (["--config=configs/nowhere.py"], "nowhere.py"),
    "a number in words": (["--config=configs/demo.py", "--config.train.epochs=many"], "many"),
    "no images": (["--config=configs/folder.py"], "data.root"),
    "no run": (["--job=evaluate", "--workdir=/nowhere"], "/nowhere"),
    "no configuration": ([], "--config"),
    "an export to nowhere": (["--job=export"], "--out"),
    "an export with a configuration": (["--job=export", "--config=configs/demo.py"], "--config"),
    "a prediction with a configuration": (
        ["--job=predict", "--images=-", "--config=configs/demo.py"],
        "--config",
    ),
    "an exit code at no end": (["--job=predict", "--images=-", "--watch", "--fail_on_ng"], "end"),
    "one of several processes": (["--config=configs/demo.py", "--process=1"], "--coordinator"),
}

# Imports everything once; each command line then runs in a fork, as if started by itself. An
# argument 'SIGNAL=N' stands for a job that gets that signal.
COMMANDS = """
import json, os, sys
import launch, dtsnet_jax.jobs, dtsnet_jax.jobs.train
codes = []
for number, arguments in enumerate(json.load(sys.stdin)):
    child = os.fork()
    if not child:
        os.dup2(os.open(f"{sys.argv[1]}/{number}", os.O_WRONLY | os.O_CREAT), 2)
        if arguments[-1].startswith("SIGNAL="):
            signal = int(arguments.pop().removeprefix("SIGNAL="))
            dtsnet_jax.jobs.do_job = lambda *_: os.kill(os.getpid(), signal)
        sys.argv = ["launch.py", *arguments]
        try:
            launch.app.run(launch.main, flags_parser=launch.parse_flags)
        except SystemExit as end:
            os._exit(end.code or 0)  # without taking all that was imported apart again
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""
SIGNALS = {"SIGINT": (2, 130), "SIGTERM": (15, 143)}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Exit code, standard error and run directory of every command line."""
    base = tmp_path_factory.mktemp("commands")
    commands = {name: arguments for name, (arguments, _) in MISTAKES.items()}
    for name, (number, _) in SIGNALS.items():
        commands[name] = ["--config=configs/demo.py", f"SIGNAL={number}"]
    lines = [
        [f"--workdir={base / 'runs' / name}", *arguments] for name, arguments in commands.items()
    ]
    process = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(base)],
        cwd=ROOT,
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    codes = json.loads(process.stdout.splitlines()[-1])
    return {
        name: (code, (base / str(number)).read_text(), base / "runs" / name)
        for number, (name, code) in enumerate(zip(commands, codes, strict=True))
    }


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_get_one_sentence_and_no_traceback(mistake, outcomes):
    code, err, workdir = outcomes[mistake]
    assert code == 2, err
    assert "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, err
    assert MISTAKES[mistake][1] in errors[0]
    assert not workdir.exists()


def test_mistakes_on_the_command_line_do_not_wait_for_jax():
    code = "import sys, launch; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_end_a_job_with_their_exit_code(name, outcomes):
    code, err, _ = outcomes[name]
    assert code == SIGNALS[name][1]
    assert "the same command continues" in err and "Traceback" not in err
