"""The one exception that stands for a mistake of the user."""


class UserError(ValueError):
    """Bad input: a field, a file or a directory. Its message is one sentence for the user.

    The message names the field or file, what was found, what was expected and the next step;
    the launcher prints it without a traceback and exits with code 2.
    """
