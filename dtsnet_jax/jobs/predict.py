"""The prediction job: score new photographs with what was trained; write down what was found."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from dtsnet_jax.errors import UserError
from dtsnet_jax.prediction.detectors import Detectors
from dtsnet_jax.prediction.history import History
from dtsnet_jax.prediction.line import Line, PredictionOptions
from dtsnet_jax.prediction.log import TABLE_FILE, PredictionLog
from dtsnet_jax.prediction.sources import find_images
from dtsnet_jax.prediction.watching import settled_images
from dtsnet_jax.report.document import PAGE_FILE
from dtsnet_jax.run import CONFIG_FILE

PAGE_SECONDS = 60.0  # at least, between two reports while a directory is watched


def predict(detectors: Detectors, options: PredictionOptions) -> Counter[str]:
    """Scores photographs that are not scored yet; continues where an earlier start stopped.

    Args:
      detectors: of the run.
      options: what to score and what to do with it.

    Returns:
      How many of the photographs were 'OK', 'review' or 'NG', now or at an earlier start; 'error'
      counts those that could not be scored, 'scored' those without a decision.

    Raises:
      UserError: there is no image, or the results cannot go there.
    """
    if (options.out / CONFIG_FILE).exists():
        raise UserError(
            f"--out is '{options.out}', the directory of a run, whose report would be lost; give "
            "another directory."
        )
    sources = _sources(options)
    history = History(detectors)
    log = PredictionLog(options.out, detectors.fingerprint, see=history.see_again)
    with log, ExitStack() as last:
        for category in {row["category"] for row in log.rows} - {""}:
            detectors.of(category)  # whose limits belong into the report, scored again or not
        page = partial(_write_page, options.out, log, detectors)
        last.callback(page)
        line = last.enter_context(Line(detectors, log, options, history))
        written, shown = time.monotonic(), log.count
        for paths in sources:
            line.score(paths)
            if log.count > shown and time.monotonic() - written > PAGE_SECONDS:
                page()
                written, shown = time.monotonic(), log.count
    counts = sorted(line.counts.items())
    print(", ".join(f"{count} {outcome}" for outcome, count in counts) or "no photographs")
    print(f"predictions: {options.out / TABLE_FILE}\nreport: {options.out / PAGE_FILE}")
    return line.counts


def _write_page(out: Path, log: PredictionLog, detectors: Detectors) -> None:
    from dtsnet_jax.report.predictions import write_predictions_page  # plots: needed last

    rows = list(log.rows)
    write_predictions_page(out, rows, detectors.loaded, earlier=log.count - len(rows))


def _sources(options: PredictionOptions) -> Iterable[list[Path]]:
    """The photographs: all at once, or in lists as they come."""
    out = options.out.resolve()
    if options.watch:
        directory = Path(options.images).expanduser()
        if directory.resolve() == out or out in directory.resolve().parents:
            raise UserError(
                f"--out is '{options.out}', in which --images '{options.images}' lies; what is "
                "written would be watched: give another directory."
            )
        print(f"watching '{directory}'; Ctrl-C ends it", flush=True)
        return settled_images(directory, ignoring=[options.out])
    found = find_images(options.images)
    if not isinstance(found, list):
        return _as_they_come(found)
    folders = {folder: folder.resolve() for folder in {path.parent for path in found}}
    written = {folder for folder, real in folders.items() if out in (real, *real.parents)}
    return [[path for path in found if path.parent not in written]]


def _as_they_come(paths: Iterator[Path]) -> Iterator[list[Path]]:
    """What has come since the last list, so that one photograph need not wait for the next."""
    arrived: SimpleQueue[Path | BaseException | None] = SimpleQueue()

    def read() -> None:
        end = None
        try:
            for path in paths:
                arrived.put(path)
        except BaseException as error:
            end = error
        arrived.put(end)

    Thread(target=read, daemon=True).start()
    some: list[Path] = []
    while True:
        one = arrived.get()
        if isinstance(one, Path):
            some.append(one)
        if some and (arrived.empty() or not isinstance(one, Path)):
            yield some
            some = []
        if isinstance(one, BaseException):
            raise one
        if one is None:
            return
