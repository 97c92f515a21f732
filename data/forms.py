"""Whether what JSON gave back has the form that it was written in."""

import json
from math import isfinite

from dtsnet_jax.errors import first_line

# What a value has to be: a type, (form,) for that or null, [form of every item], {str: form} with
# any names, or {name: form} with these names and maybe others; those that end in '?' may be absent.
Form = type | tuple | list | dict

_CALLED = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def parse_json(text: str | bytes, form: Form) -> tuple[object, str | None]:
    """What a text holds as JSON, and what is wrong with it, None where it has the form."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        return None, f"it is no JSON ({first_line(error)})"
    return content, find_mismatch(content, form)


def find_mismatch(value: object, form: Form, where: str = "it") -> str | None:
    """The first place where a value has another form than expected.

    Args:
      value: from JSON.
      form: see ``Form``; of its types ``int`` is below 2⁶³ and no bool, ``float`` any number that
        is neither infinite nor NaN, ``str`` what can be written again, and ``object`` anything.
      where: what the value is called.

    Returns:
      What is there and what was expected, or None where all is as expected.
    """
    if isinstance(form, tuple):
        return None if value is None else find_mismatch(value, form[0], where)
    if not isinstance(form, list | dict):
        return None if _is(value, form) else f"{where} is {_shown(value)}, expected {_CALLED[form]}"
    kind, called = (list, "a list") if isinstance(form, list) else (dict, "an object")
    if not isinstance(value, kind):
        return f"{where} is {_shown(value)}, expected {called}"
    if kind is list:
        parts = [(item, form[0], f"{where}[{i}]") for i, item in enumerate(value)]
    elif str in form:
        parts = [(value[name], form[str], f"{where}[{_shown(name)}]") for name in value]
    else:
        names = {name.removesuffix("?"): one for name, one in form.items()}
        missing = [name for name in form if not name.endswith("?") and name not in value]
        if missing:
            return f"{where} lacks '{missing[0]}'"
        parts = [(value[n], one, f"{where}['{n}']") for n, one in names.items() if n in value]
    return next(filter(None, (find_mismatch(*part) for part in parts)), None)


def _is(value: object, form: type) -> bool:
    if form is object:
        return True
    if isinstance(value, bool):
        return form is bool
    if isinstance(value, int):
        return form in (int, float) and abs(value) < 2**63
    if not isinstance(value, form):
        return False
    return _is_writable(value) if form is str else isfinite(value)


def _is_writable(text: str) -> bool:
    """Whether text can be written again; names of files may have bytes that are not UTF-8."""
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    """The value, at most 60 characters of it."""
    return type(value).__name__ if isinstance(value, list | dict) else f"{value!a:.60}"
