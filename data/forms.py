"""Whether what JSON gave back has the form that it was written in."""

import json
from collections.abc import Iterable
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


def find_mismatch(value: object, form: Form) -> str | None:
    """The first place where a value has another form than expected.

    Args:
      value: from JSON.
      form: see ``Form``; of its types ``int`` is below 2⁶³ and no bool, ``float`` any number that
        is neither infinite nor NaN, ``str`` what can be written again, and ``object`` anything.

    Returns:
      What is there, as of 'it', and what was expected; None where all is as expected.
    """
    mismatch = _mismatch(value, form)
    return mismatch and f"it{mismatch}"


def _mismatch(value: object, form: Form) -> str | None:
    """``find_mismatch`` without the value's name, which is known only to who asks."""
    if isinstance(form, type):
        return None if _IS[form](value) else f" is {_shown(value)}, expected {_CALLED[form]}"
    if isinstance(form, tuple):
        return None if value is None else _mismatch(value, form[0])
    if isinstance(form, list):
        if not isinstance(value, list):
            return f" is {_shown(value)}, expected a list"
        return _of_parts(enumerate(value), form[0])
    if not isinstance(value, dict):
        return f" is {_shown(value)}, expected an object"
    if str in form:
        return _of_parts(value.items(), form[str])
    for name, part_form in form.items():
        present = name.removesuffix("?")
        if present in value:
            if inner := _mismatch(value[present], part_form):
                return f"['{present}']{inner}"
        elif not name.endswith("?"):
            return f" lacks '{name}'"
    return None


def _of_parts(parts: Iterable[tuple[object, object]], form: Form) -> str | None:
    """The first mismatch among values that have names or numbers and are of one form."""
    for name, part in parts:
        if inner := _mismatch(part, form):
            return f"[{_shown(name)}]{inner}"
    return None


def _is_whole(value: object) -> bool:
    return type(value) is int and abs(value) < 2**63


def _is_number(value: object) -> bool:
    return isfinite(value) if type(value) is float else _is_whole(value)


def _is_text(value: object) -> bool:
    """Whether it can be written again; names of files may have bytes that are not UTF-8."""
    if type(value) is not str:
        return False
    try:
        value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


_IS = {
    int: _is_whole,
    float: _is_number,
    str: _is_text,
    bool: lambda value: type(value) is bool,
    object: lambda value: True,
}


def _shown(value: object) -> str:
    """The value, at most 60 characters of it."""
    return type(value).__name__ if isinstance(value, list | dict) else f"{value!a:.60}"
