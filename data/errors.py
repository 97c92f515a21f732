"""The one exception that stands for a mistake in the user's data."""


class DataError(ValueError):
    """A file or directory that cannot be used. Its message is one sentence for the user.

    The message names the file, what was found, what was expected and the next step; the launcher
    prints it without a traceback and exits with code 2.
    """
