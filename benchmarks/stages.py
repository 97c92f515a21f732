"""launch.py, which at its first step or first scores prints the CPU seconds of every stage as JSON.

    python -m benchmarks.stages ARGUMENTS

Functions are replaced by ones that note the time as soon as their modules have been imported. All
threads of the process count, so what works beside a stage is counted with it.
"""

import builtins
import functools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

FUNCTIONS = {  # that make up a stage, by their modules
    "launch": {"parse_flags": "settings"},
    "dtsnet_jax.checks": {"check_config": "settings"},
    "data.readers": {"read_catalogs": "decoding"},
    "data.masks": {"inspect_masks": "decoding"},
    "data.images": {"decode_images": "decoding", "find_bit_depth": "decoding"},
    "data.mask_arrays": {"decode_foregrounds": "decoding", "decode_valid": "decoding"},
    "data.textures": {"load_textures": "decoding"},
    "data.files": {"file_digests": "hashing", "file_digest": "hashing"},
    "dtsnet_jax.inputs.evaluation": {"decode_test_images": "decoding"},
    "dtsnet_jax.training.records": {"read_records": "records"},
    "dtsnet_jax.training.progress": {"Progress.__init__": "records"},
    "dtsnet_jax.training.checkpoints": {"load_state": "building"},
    "dtsnet_jax.training.programs": {"Programs.initial_state": "building"},
    "dtsnet_jax.training.feature_cache": {"open_cache": "the teacher's features"},
    "dtsnet_jax.weights.teacher": {"load_teacher": "building"},
    "dtsnet_jax.detectors.learner": {"build_learner": "building"},
    "dtsnet_jax.detectors.neighbors": {
        "NeighborLearner.fit": "the neighbours' bank",
        "NeighborLearner.load": "the neighbours' bank",
        "NeighborLearner.maps_of_others": "the neighbours' bank",
    },
    "dtsnet_jax.prediction.detectors": {
        "Detectors.__init__": "building",
        "Detectors.of": "building",
    },
    "dtsnet_jax.prediction.log": {"PredictionLog.__enter__": "records"},
    "dtsnet_jax.prediction.line": {"Line.__init__": "records"},
}
MOMENTS = {  # functions with whose return a stage begins, which lasts until another one does
    "dtsnet_jax.training.watch": {"Watch.__init__": "the first batch"},
    "dtsnet_jax.training.feature_cache": {"send": "compiling, first step or scores"},
    "dtsnet_jax.prediction.line": {"Line.__init__": "compiling, first step or scores"},
}
ENDS = {
    "dtsnet_jax.training.watch": "Watch.add",
    "dtsnet_jax.prediction.log": "PredictionLog.append",
}


class Stages:
    """The stage that the main thread is in, and the CPU seconds of each so far."""

    def __init__(self):
        self.seconds: Counter[str] = Counter()
        self.told = False
        self._open, self._since = ["other"], 0.0  # also what came before: Python itself

    def note(self) -> None:
        """Books the time until now on the stage that is open."""
        now = time.process_time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage within the one that is open, whose time does not count for that one."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.note()
        self._open.append(name)
        try:
            yield
        finally:
            self.note()
            self._open.pop()

    def begin(self, name: str) -> None:
        """Gives the outermost stage another name."""
        self.note()
        self._open[0] = name


def instrument(stages: Stages) -> None:
    """Makes every import count, and replaces the functions above in what is imported."""
    awaited = FUNCTIONS.keys() | MOMENTS.keys()
    real_import = builtins.__import__

    def noting_import(name: str, *arguments: Any, **options: Any) -> Any:
        with stages.stage("imports"):
            module = real_import(name, *arguments, **options)
        for one in [one for one in awaited if one in sys.modules]:
            if not getattr(sys.modules[one].__spec__, "_initializing", False):
                awaited.remove(one)
                _replace(sys.modules[one], one, stages)
        return module

    builtins.__import__ = noting_import


def _replace(module: Any, name: str, stages: Stages) -> None:
    def put(path: str, change: Callable[[Callable], Callable]) -> None:
        *owner, last = path.split(".")
        place = getattr(module, owner[0]) if owner else module
        setattr(place, last, change(getattr(place, last)))

    for path, stage in FUNCTIONS.get(name, {}).items():
        put(path, functools.partial(_within, stages, stage))
    for path, stage in MOMENTS.get(name, {}).items():
        put(path, functools.partial(_before, stages, stage))
    if name in ENDS:
        put(ENDS[name], functools.partial(_tell, stages))


def _within(stages: Stages, stage: str, function: Callable) -> Callable:
    @functools.wraps(function)
    def within(*arguments, **options):
        with stages.stage(stage):
            return function(*arguments, **options)

    return within


def _before(stages: Stages, stage: str, function: Callable) -> Callable:
    @functools.wraps(function)
    def before(*arguments, **options):
        result = function(*arguments, **options)
        stages.begin(stage)
        return result

    return before


def _tell(stages: Stages, function: Callable) -> Callable:
    """Prints the seconds when the function is first called."""

    @functools.wraps(function)
    def telling(*arguments):
        import jax

        jax.block_until_ready([one for one in arguments if isinstance(one, tuple)])
        stages.note()
        if not stages.told:
            print(json.dumps(stages.seconds), flush=True)
        stages.told = True
        return function(*arguments)

    return telling


def main() -> None:
    """Starts the job."""
    instrument(Stages())
    import launch

    launch.app.run(launch.main, flags_parser=launch.parse_flags)


if __name__ == "__main__":
    main()
