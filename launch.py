"""Starts a job: ``python launch.py --config configs/demo.py [--config.FIELD=VALUE …]``."""

import errno
import re
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from dtsnet_jax.errors import Interrupted, UserError
from dtsnet_jax.training.interruption import end_on_signals

# A full or failing disk, and files and directories that may not be used.
UNUSABLE = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR,
    errno.ENOLCK, errno.EMFILE, errno.EIO,
)  # fmt: skip

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration, FILE.py or FILE.py:NAME.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run; runs/NAME if not given.")
_JOB = flags.DEFINE_enum(
    "job",
    "train",
    ["prepare", "preview", "train", "evaluate", "ensemble", "report", "predict", "export", "serve"],
    "prepare the data, preview the synthesis, train (and evaluate), evaluate a trained run, "
    "average its seeds, merge the results of several launches into one report, score new "
    "photographs, export a detector for machines without JAX, or score over HTTP.",
)
_IMAGES = flags.DEFINE_string(
    "images",
    None,
    "predict: a file, a directory, a pattern, or - for paths from standard input; export: what to "
    "compare the export on, images of the run if not given.",
)
_OUT = flags.DEFINE_string(
    "out",
    None,
    "predict: where to write, WORKDIR/predictions if not given; export: the folder to write; "
    "serve: where to keep corrections and changed limits, WORKDIR/served if not given.",
)
_CATEGORY = flags.DEFINE_string(
    "category", None, "predict, export, serve: which one of a run with several."
)
_FALSE_ALARMS = flags.DEFINE_float(
    "false_alarms", None, "predict, export, serve: in place of the run's threshold.false_alarms."
)
_REVIEW = flags.DEFINE_float(
    "review", None, "predict, export, serve: in place of the run's threshold.review."
)
_WATCH = flags.DEFINE_bool("watch", False, "predict: go on with images that appear in a directory.")
_SORT = flags.DEFINE_enum(
    "sort", "", ["", "copy", "move"], "predict: images into OUT/OK, OUT/review, OUT/NG, OUT/error."
)
_HEATMAPS = flags.DEFINE_bool("heatmaps", True, "predict: write a picture of every image.")
_FAIL_ON_NG = flags.DEFINE_bool("fail_on_ng", False, "predict: exit with code 3 if a part is NG.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "serve: the address to listen on.")
_PORT = flags.DEFINE_integer("port", 8000, "serve: the port; 0 for one that is free.", 0, 65535)
_MAX_UPLOAD_MB = flags.DEFINE_integer("max_upload_mb", 64, "serve: mebibytes of a request.", 1)
_PREDICTIONS = flags.DEFINE_string(
    "predictions",
    None,
    "serve: the --out of a --job=predict whose photographs the page shows, WORKDIR/predictions if "
    "not given.",
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of the first of the processes.")
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes train together.")
_PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0 on.")


def run_job() -> None:
    """Reads configuration and job from the flags and starts the job."""
    import jax

    from dtsnet_jax.devices.processes import choose_cpu_convolutions, start_processes
    from dtsnet_jax.jobs import OF_A_RUN, do_job
    from dtsnet_jax.run import Run
    from dtsnet_jax.weights.sources import cache_directory

    if not jax.config.jax_compilation_cache_dir:  # unless the environment names one
        jax.config.update("jax_compilation_cache_dir", str(cache_directory() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if _JOB.value in WITH_DETECTORS:
        choose_cpu_convolutions()
        _refuse_config()
        WITH_DETECTORS[_JOB.value]()
        return
    if _CONFIG.value is None and (_WORKDIR.value is None or _JOB.value not in OF_A_RUN):
        raise UserError("--config is missing; try --config configs/demo.py, or see README.md.")
    choose_cpu_convolutions()
    start_processes(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    end_on_signals()  # again: to connect processes, JAX takes SIGTERM for itself
    config = _CONFIG.value or Run(Path(_WORKDIR.value)).config()
    do_job(_JOB.value, config, Path(_WORKDIR.value or Path("runs") / config.name))


def _predict() -> None:
    from dtsnet_jax.jobs.predict import predict
    from dtsnet_jax.prediction.detectors import Detectors
    from dtsnet_jax.prediction.line import PredictionOptions

    _require(_WORKDIR, _IMAGES, example="--job=predict --workdir=RUN --images=DIR")
    if _WATCH.value and _FAIL_ON_NG.value:
        raise UserError("--fail_on_ng needs an end, which --watch has not; leave one of them out.")
    options = PredictionOptions(
        images=_IMAGES.value,
        out=_below_workdir(_OUT, "predictions"),
        watch=_WATCH.value,
        sort=_SORT.value,
        heatmaps=_HEATMAPS.value,
    )
    counts = predict(Detectors(Path(_WORKDIR.value), **_wanted()), options)
    if _FAIL_ON_NG.value and counts["NG"]:
        sys.exit(3)


def _export() -> None:
    from dtsnet_jax.jobs.export import export
    from dtsnet_jax.prediction.saved import choose_detector

    _require(_WORKDIR, _OUT, example="--job=export --workdir=RUN --out=DIR")
    choice = choose_detector(Path(_WORKDIR.value), **_wanted())
    export(choice, Path(_OUT.value), images=_IMAGES.value)


def _serve() -> None:
    try:
        from dtsnet_jax.jobs.serve import ServingOptions, serve
        from dtsnet_jax.serving.detectors import ServedDetectors
    except ModuleNotFoundError as error:
        raise UserError(
            f"--job=serve needs the package '{error.name}'; install it: pip install -r "
            "requirements-serve.txt."
        ) from error

    _require(_WORKDIR, example="--job=serve --workdir=RUN")
    options = ServingOptions(
        host=_HOST.value,
        port=_PORT.value,
        out=_below_workdir(_OUT, "served"),
        max_upload_mb=_MAX_UPLOAD_MB.value,
        follow=_below_workdir(_PREDICTIONS, "predictions"),
    )
    serve(ServedDetectors(Path(_WORKDIR.value), options.out, **_wanted()), options)


def _below_workdir(flag: flags.FlagHolder, default: str) -> Path:
    """The directory of a flag, or one of this name in the run's."""
    workdir = Path(_WORKDIR.value)
    return Path(flag.value or (workdir if workdir.is_dir() else workdir.parent) / default)


def _wanted() -> dict:
    """Which detector of a run, and with which limits."""
    rates = {"false_alarms": _FALSE_ALARMS.value, "review": _REVIEW.value}
    return {"category": _CATEGORY.value, **rates}


def _require(*needed: flags.FlagHolder, example: str) -> None:
    for flag in needed:
        if flag.value is None:
            raise UserError(f"--{flag.name} is missing; try {example}.")


def _refuse_config() -> None:
    if _CONFIG.value is not None:
        raise UserError(
            f"--config is given, but --job={_JOB.value} goes by the run; leave it out, and set "
            "limits with --false_alarms and --review."
        )


# Jobs that need no configuration.
WITH_DETECTORS = {"predict": _predict, "export": _export, "serve": _serve}


def main(_: list[str]) -> None:
    """Runs the job; a user's mistake ends with one sentence and exit code 2."""
    logging.set_verbosity(logging.ERROR)
    if hasattr(sys.stdout, "reconfigure"):  # open; what a pipe's encoding lacks ends no job
        sys.stdout.reconfigure(errors="backslashreplace")
    end_on_signals()
    try:
        run_job()
    except UserError as error:
        sys.exit(_fail(str(error)))
    except OSError as error:
        if error.errno not in UNUSABLE:
            raise
        sys.exit(
            _fail(
                f"'{error.filename2 or error.filename or 'a file'}' cannot be used "
                f"({error.strerror}); make room, mend its permissions, or close what holds it, "
                "then the same command continues."
            )
        )
    except Interrupted as interrupted:
        print("\ninterrupted; the same command continues where this one stopped", file=sys.stderr)
        sys.exit(128 + interrupted.signal)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def parse_flags(arguments: list[str]) -> list[str]:
    """Parses the command line; a misspelt field or flag is refused with the nearest valid name."""
    try:
        rest = flags.FLAGS(arguments)
        if _CONFIG.value is not None:
            _ = _CONFIG.value.name  # a file that cannot be loaded is reported on first use
        return rest
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        message = str(error)
        if isinstance(error, (KeyError, AttributeError)):
            nearest = " ".join(str(error.args[0]).strip("'").replace("\\n", " ").split())
            message = f"the configuration has no such field: {nearest}".replace("\\'", "'")
        # A traceback of the configuration file comes as text; its last error is the message.
        causes = re.findall(r"^[\w.]+Error: (.+)$", message, re.MULTILINE)
        sys.exit(_fail(causes[-1] if causes else " ".join(message.split())))


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
