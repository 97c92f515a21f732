"""Values from JSON beside the form that they were to have."""

import pytest

from data.forms import find_mismatch

FORM = {"name": str, "sizes": [int], "share?": float, "by_kind?": {str: bool}, "limit?": (float,)}
GOOD = {"name": "a", "sizes": [1, 2]}


@pytest.mark.parametrize(
    "more", [{}, {"share": 1}, {"share": 0.5}, {"by_kind": {}}, {"limit": None}, {"other": object}]
)
def test_what_has_the_form(more):
    assert find_mismatch(GOOD | more, FORM) is None


BAD = {
    "it is list, expected an object": [],
    "it lacks 'sizes'": {"name": "a"},
    "it['name'] is 3, expected a text": GOOD | {"name": 3},
    "it['name'] is '\\ud800', expected a text": GOOD | {"name": "\ud800"},
    "it['sizes'] is None, expected a list": GOOD | {"sizes": None},
    "it['sizes'][1] is True, expected a whole number": GOOD | {"sizes": [1, True]},
    "it['sizes'][0] is 1.5, expected a whole number": GOOD | {"sizes": [1.5]},
    "it['sizes'][0] is 9223372036854775808, expected a whole number": GOOD | {"sizes": [2**63]},
    "it['share'] is nan, expected a number": GOOD | {"share": float("nan")},
    "it['share'] is dict, expected a number": GOOD | {"share": {}},
    "it['by_kind']['x'] is 1, expected true or false": GOOD | {"by_kind": {"x": 1}},
    "it['limit'] is 'x', expected a number": GOOD | {"limit": "x"},
}


@pytest.mark.parametrize("message", BAD)
def test_the_first_mismatch_is_named(message):
    assert find_mismatch(BAD[message], FORM) == message


def test_long_values_are_shortened():
    assert len(find_mismatch("x" * 1000, int)) < 100
