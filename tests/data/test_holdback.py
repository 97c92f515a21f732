from pathlib import Path

import pytest

from data.catalog import Sample
from data.holdback import WAYS, hold_back
from dtsnet_jax.errors import UserError


def images(count, group=lambda index: ""):
    return [Sample(Path(f"{index:03}.png"), group=group(index)) for index in range(count)]


def held(samples, share, by):
    train, test = hold_back(samples, share, by)
    assert sorted(train + test, key=lambda s: s.path) == samples
    return [int(sample.path.stem) for sample in test]


def test_spread_takes_images_at_equal_distances():
    assert held(images(10), 0.2, "spread") == [4, 9]
    assert held(images(10), 0.4, "spread") == [2, 4, 7, 9]
    assert held(images(7), 0.5, "spread") == [1, 3, 5, 6]


def test_last_takes_the_end():
    assert held(images(10), 0.2, "last") == [8, 9]


@pytest.mark.parametrize("by", ["spread", "last"])
@pytest.mark.parametrize(
    ("count", "share", "expected"), [(588, 0.4, 236), (100, 0.29, 29), (3, 0.01, 1), (10, 0.7, 7)]
)
def test_the_share_is_rounded_up(by, count, share, expected):
    assert len(held(images(count), share, by)) == expected


@pytest.mark.parametrize("by", WAYS)
def test_no_share_holds_nothing_back(by):
    assert held(images(5), 0.0, by) == []
    assert held([], 0.5, by) == []


class TestGroups:
    def test_stay_together_and_are_taken_at_equal_distances(self):
        samples = images(100, lambda index: f"lot {index // 10}")
        assert held(samples, 0.2, "group") == [*range(20, 30), *range(70, 80)]

    def test_that_are_mixed_in_the_order_of_names(self):
        samples = images(30, lambda index: "abc"[index % 3])
        assert held(samples, 0.3, "group") == list(range(1, 30, 3))

    def test_at_least_one_is_held_back_and_one_remains(self):
        samples = images(10, lambda index: "b" if index < 3 else "a")
        assert held(samples, 0.05, "group") == [0, 1, 2]
        assert held(samples, 0.99, "group") == list(range(3, 10))

    def test_one_group_is_refused(self):
        with pytest.raises(
            UserError, match=r"all 4 good images, such as '000\.png', are one group"
        ):
            hold_back(images(4), 0.2, "group")
