from pathlib import Path

import pytest

from data.catalog import Sample
from data.holdback import WAYS, hold_back
from dtsnet_jax.errors import UserError


def images(count, group=lambda index: ""):
    return [Sample(Path(f"{index:03}.png"), group=group(index)) for index in range(count)]


def held(samples, share, by, **settled):
    train, test = hold_back(samples, share, by, **settled)
    assert sorted(train + test, key=lambda s: s.path) == samples
    return [int(sample.path.stem) for sample in test]


def test_spread_takes_one_image_of_each_stretch():
    assert held(images(10), 0.2, "spread") == [2, 5]
    assert held(images(10), 0.4, "spread") == [1, 2, 6, 8]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.25, 0.4, 0.5])
@pytest.mark.parametrize("period", range(2, 11))
def test_spread_learns_all_variants_and_tests_several_whatever_their_period(period, share):
    test = held(images(100), share, "spread")
    tested = {index % period for index in test}
    assert len(tested) >= min(period, len(test)) / 2
    assert {index % period for index in set(range(100)) - set(test)} == set(range(period))


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

    def test_what_is_settled_settles_their_groups(self):
        samples = images(12, lambda index: "abcd"[index // 3])
        settled = {
            "train": [Sample(Path("t.png"), group="b")],
            "test": [Sample(Path("d.png"), "x")],
        }
        assert held(samples, 0.25, "group", **settled) == [6, 7, 8]
        settled["test"].append(Sample(Path("e.png"), "x", group="d"))
        assert held(samples, 0.25, "group", **settled) == [9, 10, 11]
        assert held(samples, 0.5, "group", **settled) == [6, 7, 8, 9, 10, 11]

    def test_that_are_all_learned_from_are_not_held_back(self):
        assert held(images(4, lambda _: "a"), 0.5, "group", train=images(2, lambda _: "a")) == []


def test_a_share_that_leaves_nothing_to_learn_from_is_refused():
    expected = r"data\.held_back=0\.95 leaves 0 training images of 10 \('000\.png'.*at least 2"
    with pytest.raises(UserError, match=expected):
        hold_back(images(10), 0.95, "spread")
    held(images(10), 0.95, "spread", train=images(2))
