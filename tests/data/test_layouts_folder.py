"""Which layout is recognised under data.root, and roots that are beside the point."""

import pytest

from data.readers import read_catalogs
from dtsnet_jax.errors import UserError
from tests.data.layouts import MvtecAd, Own, read, read_all
from tests.helpers import NOTHING_HELD_BACK, photograph
from tests.miniature import save


def test_folders_of_both_layouts_are_categories(tmp_path):
    for name in ("part 10", "part 9"):
        Own(tmp_path / name)
    MvtecAd(tmp_path / "part 11")
    catalogs = read_all(tmp_path)
    assert [c.category for c in catalogs] == ["part 9", "part 10", "part 11"]
    assert [len(c.train) for c in catalogs] == [8, 8, 10]
    assert read(tmp_path, "part 10") == catalogs[1]
    assert read(tmp_path / "part 10") == catalogs[1]
    assert all(catalog.notes == () for catalog in catalogs)
    with pytest.raises(UserError, match="Did you mean 'part 10'"):
        read(tmp_path, "part10")


def test_folders_that_are_no_category_are_named(tmp_path):
    Own(tmp_path / "parts")
    for folder in ("textures", ".git"):
        save(photograph(0), tmp_path / folder / "a.png")
    Own(tmp_path / "others")
    (note,), nothing = (catalog.notes for catalog in read_all(tmp_path))
    assert nothing == ()
    assert note == f"not used: textures in '{tmp_path}', in which no category was recognised"


class TestWrongRoots:
    @pytest.mark.parametrize(
        ("layout", "deep"),
        [(Own, "normal"), (Own, "defective/scratch"), (MvtecAd, "train/good"), (MvtecAd, "test")],
    )
    def test_too_deep(self, tmp_path, layout, deep):
        layout(tmp_path / "parts")
        with pytest.raises(UserError, match=r"a part of a layout; give its parent '.*/parts'"):
            read(tmp_path / "parts" / deep)

    @pytest.mark.parametrize("layout", [Own, MvtecAd])
    def test_too_high(self, tmp_path, layout):
        layout(tmp_path / "site" / "parts")
        with pytest.raises(UserError, match=r"'normal' nor 'train/good'; did you mean '.*/site'"):
            read(tmp_path)

    def test_beside_a_table(self, tmp_path):
        (tmp_path / "parts.csv").write_text("image,label")
        with pytest.raises(UserError, match=r"did you mean '.*/parts\.csv'"):
            read(tmp_path)

    def test_beside_a_text_that_is_no_table(self, tmp_path):
        (tmp_path / "license.txt").write_text("MIT")
        with pytest.raises(UserError, match="but the folders: none"):
            read(tmp_path)

    def test_of_no_layout(self, tmp_path):
        for folder in ("good", "bad"):
            save(photograph(0), tmp_path / folder / "a.png")
        with pytest.raises(UserError, match="but the folders: 'bad', 'good'; put photographs of"):
            read(tmp_path)
        with pytest.raises(UserError, match="but the folders: none; put photographs of good"):
            read(tmp_path / "bad")

    def test_that_do_not_exist(self, tmp_path):
        with pytest.raises(UserError, match="is no directory; give an existing one"):
            read(tmp_path / "nowhere")
        with pytest.raises(UserError, match="is no directory; give an existing one"):
            read(tmp_path / ("x" * 300))
        with pytest.raises(UserError, match=r"data\.root is empty; give the directory"):
            read_catalogs("folder", "", "", **NOTHING_HELD_BACK)


def test_two_layouts_in_a_folder_are_refused(tmp_path):
    Own(tmp_path / "parts")
    MvtecAd(tmp_path / "parts")
    with pytest.raises(UserError, match=r"parts' holds 'normal' and 'train/good'; keep one"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["all", "screws, bent"])
def test_a_category_that_cannot_be_asked_for_is_refused(tmp_path, name):
    for folder in (name, "nuts"):
        Own(tmp_path / folder)
    with pytest.raises(UserError, match=rf"'.*/{name}' is called '{name}', expected a name"):
        read_all(tmp_path)
