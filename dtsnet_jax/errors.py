"""The one exception that stands for a mistake of the user, and sentences that several need."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input: a field, a file or a directory. Its message is one sentence for the user.

    The message names the field or file, what was found, what was expected and the next step;
    the launcher prints it without a traceback and exits with code 2.
    """


def unknown_name(field: str, name: object, valid: Iterable[object]) -> UserError:
    """The error for a name or number that is none of the valid ones; suggests the nearest."""
    valid = [str(one) for one in valid]
    near = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.4)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return UserError(f"{field} is '{name}', which is unknown.{hint} Valid: {', '.join(valid)}.")


def first_line(error: BaseException) -> str:
    """The first line of a message, a library's cut at 200 characters, or the error's name."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if isinstance(error, UserError) else line[:200]


class Interrupted(BaseException):
    """The job was asked to end by a signal; like KeyboardInterrupt, no error of the program.

    Attributes:
      signal: its number; the exit code is 128 more, as shells have it.
    """

    def __init__(self, signal: int):
        super().__init__(f"interrupted by signal {signal}")
        self.signal = signal
