"""The prediction job: score new photographs with what was trained; write down what was found."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from dtsnet_jax.errors import UserError
from dtsnet_jax.prediction.detectors import Detectors
from dtsnet_jax.prediction.line import Line, PredictionOptions
from dtsnet_jax.prediction.log import TABLE_FILE, PredictionLog, outcome_of
from dtsnet_jax.prediction.sources import find_images
from dtsnet_jax.prediction.watching import settled_images
from dtsnet_jax.report.predictions import write_predictions_page
from dtsnet_jax.run import CONFIG_FILE

PAGE_SECONDS = 60.0  # at least, between two reports while a directory is watched


def predict(detectors: Detectors, options: PredictionOptions) -> Counter[str]:
    """Scores photographs that are not scored yet; continues where an earlier start stopped.

    Args:
      detectors: of the run.
      options: what to score and what to do with it.

    Returns:
      How many photographs were 'OK', 'review' or 'NG', those of earlier starts included; 'error'
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
    with PredictionLog(options.out, detectors.fingerprint) as log:
        for category in {row["category"] for row in log.rows} - {""}:
            detectors.of(category)  # whose limits belong into the report, scored again or not
        written = time.monotonic()
        try:
            with Line(detectors, log, options) as line:
                for paths in sources:
                    line.score(paths)
                    if paths and time.monotonic() - written > PAGE_SECONDS:
                        write_predictions_page(options.out, log.rows, detectors.loaded)
                        written = time.monotonic()
        finally:
            page = write_predictions_page(options.out, log.rows, detectors.loaded)
    counts = Counter(map(outcome_of, log.rows))
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
    print(f"predictions: {options.out / TABLE_FILE}\nreport: {page}")
    return counts


def _sources(options: PredictionOptions) -> Iterable[list[Path]]:
    """The photographs: all at once, or in lists as they come."""
    if options.watch:
        print(f"watching '{options.images}'; Ctrl-C ends it", flush=True)
        return settled_images(Path(options.images), ignoring=[options.out])
    found = find_images(options.images)
    return [found] if isinstance(found, list) else _as_they_come(found)


def _as_they_come(paths: Iterator[Path]) -> Iterator[list[Path]]:
    """What has come since the last list, so that one photograph need not wait for the next."""
    arrived: SimpleQueue[Path | None] = SimpleQueue()

    def read() -> None:
        for path in paths:
            arrived.put(path)
        arrived.put(None)

    Thread(target=read, daemon=True).start()
    while (first := arrived.get()) is not None:
        some = [first]
        try:
            while (path := arrived.get_nowait()) is not None:
                some.append(path)
        except Empty:
            yield some
            continue
        yield some
        return
