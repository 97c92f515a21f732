"""Calls functions in new processes; these import only the module that the function comes from."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.process import BaseProcess

_CONTEXT = multiprocessing.get_context("spawn")
_PATIENCE = 120  # seconds after which a test fails rather than hangs


def at_once(function: Callable, *arguments, processes: int = 4) -> list:
    """Calls a function in several processes at the same moment; returns all results."""
    barrier = _CONTEXT.Barrier(processes, timeout=_PATIENCE)
    with ProcessPoolExecutor(processes, _CONTEXT, _keep, (barrier,)) as pool:
        calls = [pool.submit(_call_together, function, arguments) for _ in range(processes)]
        return [call.result() for call in calls]


def _keep(barrier) -> None:
    global _barrier
    _barrier = barrier


def _call_together(function, arguments):
    _barrier.wait()
    return function(*arguments)


@contextmanager
def process_inside(
    manager: Callable[..., AbstractContextManager], *arguments
) -> Iterator[BaseProcess]:
    """A process that has entered ``manager(*arguments)`` and stays in it until it is killed."""
    entered = _CONTEXT.Event()
    process = _CONTEXT.Process(target=_stay_inside, args=(entered, manager, arguments))
    process.start()
    try:
        assert entered.wait(_PATIENCE)
        yield process
    finally:
        kill(process)


def _stay_inside(entered, manager, arguments):
    with manager(*arguments):
        entered.set()
        time.sleep(10 * _PATIENCE)


def kill(process: BaseProcess) -> None:
    """Ends a process as ``kill -9`` does."""
    process.kill()
    process.join()
