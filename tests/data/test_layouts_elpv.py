import pytest

from configs import demo
from data.layouts import elpv
from data.readers import read_catalogs
from dtsnet_jax.errors import UserError
from tests.helpers import NOTHING_HELD_BACK


@pytest.mark.parametrize(
    ("category", "train", "good", "defective"),
    [("mono", 352, 236, 313), ("poly", 552, 368, 402), ("both", 904, 604, 715)],
)
def test_the_split_of_the_demo_has_the_documented_counts(category, train, good, defective):
    data = demo.get_config().data
    (catalog,) = read_catalogs(
        "elpv", "", category, held_back=data.held_back, held_back_by=data.held_back_by
    )
    labels = [s.label for s in catalog.test]
    assert (len(catalog.train), labels.count(0), labels.count(1)) == (train, good, defective)
    assert not {s.path for s in catalog.train} & {s.path for s in catalog.test}


def test_cells_of_every_make_are_learned_and_tested():
    (mono,) = read_catalogs("elpv", "", "mono", held_back=0.4, held_back_by="spread")
    late = [s.path.name >= "cell2000" for s in mono.train]
    assert sum(late) / sum(s.path.name >= "cell2000" for s in (*mono.train, *mono.test)) > 0.35
    (last,) = read_catalogs("elpv", "", "mono", held_back=0.4, held_back_by="last")
    assert max(s.path.name for s in last.train) < min(s.path.name for s in last.test if not s.label)


def test_cells_have_no_groups():
    with pytest.raises(UserError, match="are one group"):
        read_catalogs("elpv", "", "mono", held_back=0.4, held_back_by="group")


def test_unknown_category():
    with pytest.raises(UserError, match="Did you mean 'mono'"):
        read_catalogs("elpv", "", "momo", **NOTHING_HELD_BACK)


def test_all_categories_by_default():
    catalogs = read_catalogs("elpv", "", "", **NOTHING_HELD_BACK)
    assert tuple(c.category for c in catalogs) == elpv.CATEGORIES
