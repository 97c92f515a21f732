"""Damages files of every kind that users give, and counts what becomes of them.

    python -m benchmarks.fuzz --minutes=20 [--only=pth] [--seed=0] [--first=N]

Every input follows from seed, kind and number, so a finding is seen again with --only=KIND
--first=NUMBER --minutes=0. A finding is whatever is neither read nor refused with a UserError of
one sentence: a traceback, something run, written elsewhere or read beyond its file, a child that
died, more than 2 GiB of memory, or more than 20 seconds. Prints a Markdown table.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random

from benchmarks.fuzz_kinds import KINDS
from benchmarks.fuzz_seeds import prepare

MEMORY, SECONDS = 2 * 2**30, 20.0
SHOWN = 5  # findings of each kind
_FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect"),
    *("pickle.find_class", "exec", "ctypes.dlopen"),
)


def _is_importing() -> bool:
    frame = sys._getframe()
    while frame is not None and "importlib" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None


class Guard:
    """Notes what a reader does that it must not do: an audit hook, which cannot be removed."""

    def __init__(self, directory: Path):
        self._directory, self.watching, self.seen = str(directory), False, ""
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if not self.watching:
            return
        module = event == "exec" and not arguments[0].co_filename.startswith("<")
        if event in _FORBIDDEN and not module and not _is_importing():
            self.seen = f"{event} {arguments!r:.80}"
        elif event == "open" and isinstance(arguments[0], str) and self._writes(arguments):
            self.seen = f"writes to {arguments[0]!r:.80}"

    def _writes(self, arguments: tuple) -> bool:
        inside = os.path.abspath(arguments[0]).startswith(self._directory)  # noqa: PTH100
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR)) and not inside


def child(name: str, seed: int, first: int, run: Path, counts, findings) -> None:
    """Reads one input after the other until it is ended.

    Args:
      name: a key of ``KINDS``.
      seed: of the campaign.
      first: the number of the first input.
      run: the directory of ``prepare``.
      counts: shared: the input's number, when it began, how many were read and refused.
      findings: the queue for pairs of number and description.
    """
    import tests.tiny  # noqa: F401 (the backbone of the small run)

    kind = KINDS[name]
    with tempfile.TemporaryDirectory(
        dir="/dev/shm" if Path("/dev/shm").is_dir() else None
    ) as where:
        directory = Path(where).resolve()
        path = directory / kind.name
        path.parent.mkdir(parents=True, exist_ok=True)
        seeds = kind.seeds(run if kind.prepared else directory)
        assert seeds, f"no seeds of {name}"
        guard = Guard(directory)
        for content in seeds:
            path.write_bytes(content)
            kind.read(path, run)  # valid files are read, and what they need is imported
        for stream in (1, 2):  # libraries print what they find
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
        number = first
        while True:
            counts[0], counts[1] = number, time.monotonic()
            path.write_bytes(kind.mutate(Random(f"{seed} {name} {number}"), seeds))
            guard.seen, guard.watching = "", True
            outcome = _outcome(lambda: kind.read(path, run))
            guard.watching = False
            if guard.seen:
                outcome = guard.seen
            counts[2] += outcome == "read"
            counts[3] += outcome == "refused"
            if outcome not in ("read", "refused"):
                findings.put((number, outcome))
            number += 1


def _outcome(read) -> str:
    from dtsnet_jax.errors import UserError

    try:
        read()
    except UserError as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, MemoryError):
            return "memory"
        return "refused" if "\n" not in str(error) and len(str(error)) < 20_000 else "no sentence"
    except BaseException as error:  # a panic of Rust is no Exception
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "/dtsnet_jax/" in f.filename or "/data/" in f.filename]
        place = (ours or frames)[-1]
        return f"{type(error).__name__} {Path(place.filename).name}:{place.lineno} {error!s:.100}"
    return "read"


def campaign(name: str, seed: int, first: int, seconds: float, run: Path) -> tuple:
    """Fuzzes one kind; a child that dies or hangs is a finding, and another one goes on.

    Returns:
      Inputs, how many were read and refused, seconds, and the findings: number, description.
    """
    context = multiprocessing.get_context("spawn")
    counts, findings = context.Array("d", [first - 1, 0, 0, 0]), context.SimpleQueue()
    found: list[tuple[int, str]] = []
    spent = 0.0
    while spent < seconds or counts[0] < first:
        start = int(counts[0]) + 1
        counts[1] = 0
        process = context.Process(target=child, args=(name, seed, start, run, counts, findings))
        process.start()
        while not counts[1] and process.is_alive():  # imports
            time.sleep(0.05)
        began = time.monotonic()
        while process.is_alive() and (
            spent + time.monotonic() - began < seconds or counts[0] < first + 1
        ):
            process.join(0.05)
            if counts[1] and time.monotonic() - counts[1] > SECONDS:
                found.append((int(counts[0]), f"longer than {SECONDS:g} s"))
                break
            while not findings.empty():
                found.append(findings.get())
        spent += time.monotonic() - began
        if not process.is_alive():
            found.append((int(counts[0]), f"died with {process.exitcode}"))
            if int(counts[0]) < start:
                break  # it cannot even begin
        process.kill()
        process.join()
        while not findings.empty():
            found.append(findings.get())
    return int(counts[0]) - first, int(counts[2]), int(counts[3]), spent, found


def main() -> None:
    """Fuzzes the chosen kinds, each for the same time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="of all kinds together")
    parser.add_argument("--only", default="", help="kinds whose names begin so")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    flags = parser.parse_args()
    names = [name for name in KINDS if name.startswith(flags.only)]
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory)
        if any(KINDS[name].prepared for name in names):
            import tests.tiny  # noqa: F401

            prepare(run)
        print("| kind | inputs | a minute | read | refused | findings |")
        print("|---" + "|---:" * 5 + "|")
        for name in names:
            seconds = 60 * flags.minutes / len(names)
            inputs, read, refused, spent, found = campaign(
                name, flags.seed, flags.first, seconds, run
            )
            rate = 60 * inputs / spent if spent else 0
            print(
                f"| {name} | {inputs:,} | {rate:,.0f} | {read:,} | {refused:,} | {len(found)} |",
                flush=True,
            )
            first = {}
            for number, what in found:
                first.setdefault(what.split(" 0x")[0][:60], (number, what))
            for number, what in list(first.values())[:SHOWN]:
                print(f"  {name} {number}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
