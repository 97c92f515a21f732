import json
from unicodedata import normalize

import pytest

from dtsnet_jax.errors import UserError
from tests.data.layouts import coco_file, read, read_all, write
from tests.helpers import photograph
from tests.miniature import save


@pytest.fixture
def folder(tmp_path):
    for index in range(12):
        save(photograph(index), tmp_path / "images" / f"{index}.png")
    save(photograph(0).convert("1"), tmp_path / "m.png")
    return tmp_path


def table(folder, *lines, header="image,label,split,mask", name="parts.csv", **options):
    path = folder / name
    path.write_text("\n".join([header, *lines]), **options)
    return path


def good(*indices, rest=",good,,"):
    return [f"images/{index}.png{rest}" for index in indices]


def stems(samples):
    return [sample.path.stem for sample in samples]


BAD = "images/11.png,scratch,,m.png"


def test_what_has_no_split_is_held_back_or_tested(folder):
    catalog = read(table(folder, *good(*range(9, -1, -1)), "images/10.png,Bad,test,", BAD))
    assert catalog.category == "parts"
    assert stems(catalog.train) == list("01346789")
    assert stems(catalog.test) == ["2", "5", "10", "11"]
    assert [s.defect for s in catalog.test] == ["good", "good", "defective", "scratch"]
    assert [len(s.masks) for s in catalog.test] == [0, 0, 0, 1]
    assert "masks of 1 of 2" in catalog.describe()


def test_a_split_that_is_given_is_kept(folder):
    lines = [*good(0, 1, 2, rest=",ok,TRAIN,"), *good(3, rest=",0,test,"), BAD]
    catalog = read(table(folder, *lines))
    assert (stems(catalog.train), stems(catalog.test)) == (["0", "1", "2"], ["3", "11"])


def test_without_defective_images_all_is_learned(folder):
    assert (
        len(read(table(folder, *good(0, 1, 2), BAD.replace("scratch", "normal")[:-5])).train) == 4
    )


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_spreadsheets_write(folder, separator):
    header = " Label,IMAGE ,Comment,".replace(",", separator)
    lines = [f'good,images/{i}.png,"a {separator} b",' for i in range(3)] + [",,,"]
    lines = [lines[i].replace(",", separator) for i in range(4)]
    path = table(folder, *lines, header=header, encoding="utf-8-sig", newline="\r\n")
    catalog = read(path)
    assert stems(catalog.train) == ["0", "1", "2"]
    assert catalog.notes == (f"not used: the columns comment of '{path}'",)


def test_the_line_that_names_the_separator_to_excel_is_skipped(folder):
    header = "sep=;\nimage;label"
    lines = [f"images/{i}.png;good" for i in range(3)]
    assert stems(read(table(folder, *lines, header=header)).train) == ["0", "1", "2"]
    with pytest.raises(UserError, match=r"line 6: image 'x\.png' does not exist"):
        read(table(folder, *lines, "x.png;good", header=header))


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_forms_of_unicode_are_one(folder, forms):
    on_disk, in_table = (normalize(form, "Größe.png") for form in forms)
    (folder / "images" / "0.png").rename(folder / "images" / on_disk)
    catalog = read(table(folder, f"images/{in_table},good,,", *good(1, 2), encoding="utf-8"))
    assert len(catalog.train) == 3


def test_a_table_is_read_again_when_it_has_changed(folder):
    assert len(read(table(folder, *good(0, 1, 2))).train) == 3
    assert len(read(table(folder, *good(0, 1, 2, 3))).train) == 4


def test_several_masks_and_paths_with_backslashes(folder):
    save(photograph(1).convert("1"), folder / "deep" / "n.png")
    lines = [*good(0, 1, 2), r"images\11.png,x,,m.png | deep\n.png"]
    (sample,) = [s for s in read(table(folder, *lines)).test if s.label]
    assert [mask.name for mask in sample.masks] == ["m.png", "n.png"]


def test_categories_and_groups(folder):
    header = "image,label,group,category"
    lines = good(*range(4), rest=",good,a,screw") + good(4, 5, rest=",good,b,screw")
    lines += [*good(6, 7, 8, rest=",good,,nut"), "images/9.png,bent,,screw"]
    path = table(folder, *lines, header=header)
    screw, nut = read_all(path, by="group", held_back=0.3)
    assert (screw.category, nut.category) == ("screw", "nut")
    assert stems(screw.train) == list("0123")
    assert stems(screw.test) == list("459")
    assert (len(nut.train), nut.test) == (3, ())
    assert read(path, "nut", by="group") == nut
    with pytest.raises(UserError, match="Did you mean 'screw'"):
        read(path, "screws")


def test_json_that_does_not_name_the_image_of_its_line_is_refused(folder):
    write(folder / "a.json", coco_file({"images/10.png": (1, 1, 9, 9)}))
    lines = [*good(0, 1, 2), "images/10.png,x,,a.json", "images/11.png,x,,a.json"]
    with pytest.raises(UserError, match=r"line 6: mask 'a\.json' does not name the image"):
        read(table(folder, *lines))
    assert read(table(folder, *lines[:-1])).has_masks


def test_json_that_marks_nothing_in_the_image_of_its_line_is_no_mask(folder):
    content = json.loads(coco_file({"images/10.png": (1, 1, 9, 9), "images/11.png": (1, 1, 9, 9)}))
    content["annotations"] = content["annotations"][:1]
    write(folder / "a.json", json.dumps(content))
    lines = [*good(0, 1, 2), "images/10.png,x,,a.json", "images/11.png,x,,a.json"]
    assert [len(s.masks) for s in read(table(folder, *lines)).test if s.label] == [1, 0]


@pytest.mark.parametrize("kinds", [("0.0", "1.0"), ("False", "True"), ("0", "1")])
def test_labels_that_pandas_writes(folder, kinds):
    lines = [f"images/{i}.png,{kinds[i > 8]},,," for i in range(12)]
    catalog = read(table(folder, *lines))
    assert {s.defect for s in (*catalog.train, *catalog.test)} == {"good", "defective"}
    assert sum(s.label for s in catalog.test) == 3


def test_groups_that_are_learned_or_defective_are_respected(folder):
    header = "image,label,split,group"
    lines = [f"images/{i}.png,good,,{'abcde'[i // 2]}" for i in range(10)]
    lines[2] = "images/2.png,good,train,b"
    catalog = read(table(folder, *lines, "images/10.png,x,,d", header=header), by="group")
    assert stems(catalog.test) == ["6", "7", "10"]
    assert catalog.notes == ()
    lines += ["images/10.png,x,,b", "images/11.png,x,,d"]
    (note,) = read(table(folder, *lines, header=header), by="group").notes
    assert note == "groups with images to learn from and to test on: 1 (first: b)"


def test_good_images_that_are_all_for_testing_leave_none_to_learn_from(folder):
    expected = r"parts\.csv': 1 good images of the category 'parts' are for training and 3 have"
    with pytest.raises(UserError, match=expected):
        read(table(folder, *good(0, 1, 2, rest=",good,test,"), *good(3), BAD))


MISTAKES = {
    "a column is missing": (
        "line 1: the column 'label' is missing, found 'image', 'split'; the columns are image",
        {"header": "image,split"},
    ),
    "a column is misspelt": (
        "line 1: the column 'spilt' is unknown; did you mean 'split'",
        {"header": "image,label,spilt,mask"},
    ),
    "a column stands twice": (
        "line 1: there are two columns 'label'",
        {"header": "image,label,label,mask"},
    ),
    "an empty table": ("line 1: the column 'image' is missing, found nothing", {"header": ""}),
    "no lines": ("has no lines below its header", {}),
    "no UTF-8": (
        "is not encoded in UTF-8; save it as 'CSV UTF-8'",
        {"header": "image,label,größe", "encoding": "latin-1"},
    ),
    "a file is missing": ("line 2: image 'images/99.png' does not exist", "images/99.png,good,,"),
    "a name is too long": (f"line 2: image '{'x' * 300}' does not exist", "x" * 300 + ",good,,"),
    "a mask is missing": ("line 2: mask 'n.png' does not exist", "images/1.png,x,,n.png"),
    "a mask is no mask": ("line 2: mask '.*o.json' is neither JSON of", "images/1.png,x,,o.json"),
    "no label": ("line 2: the column 'label' is empty", "images/1.png,,,"),
    "no image": ("line 2: the column 'image' is empty", ",good,,"),
    "another split": ("line 2: split is 'val', expected train, test", "images/1.png,good,val,"),
    "a defect to learn": (
        "line 2: the label is 'dent' and the split 'train', but only good",
        "images/1.png,dent,train,",
    ),
    "a number for a kind": ("line 2: label is '2', expected 0 or 1", "images/1.png,2,,"),
    "no number for a kind": ("line 2: label is 'nan', expected 0 or 1", "images/1.png,nan,,"),
    "an image again by another name": (
        "line 3: './images/../images/1.png' is listed again, as in '.*parts.csv', line 2",
        "images/1.png,good,,\n./images/../images/1.png,bad,,",
    ),
    "a mask of two images": (
        "line 3: the mask '.*m.png' is that of '.*1.png' too, in '.*parts.csv', line 2; give each",
        "images/1.png,x,,m.png\nimages/10.png,x,,m.png",
    ),
    "an image as its mask": (
        "line 2: the mask 'images/1.png' is the image itself",
        "images/1.png,x,,images/1.png",
    ),
    "a link to nowhere": (
        "line 2: image 'l.png' does not exist; expected '.*l.png', a link to 'gone.png'",
        "l.png,good,,",
    ),
    "a mask of a good image": (
        "line 2: the label is 'OK', but the mask 'm.png' marks a defect",
        "images/1.png,OK,,m.png",
    ),
    "too many cells": ("line 2: 5 cells, but the header has 4", "images/1.png,x,,a,b.png"),
    "an open quote": ("line 5: unexpected end of data; save the table", '"images/1.png,x,,'),
    "an image again": (
        "line 3: 'images/1.png' is listed again, as in '.*parts.csv', line 2",
        "images/1.png,good,,\nimages/1.png,bad,,",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_with_table_and_line(folder, mistake):
    expected, what = MISTAKES[mistake]
    write(folder / "o.json", "{}")
    (folder / "l.png").symlink_to("gone.png")
    path = table(folder, **what) if isinstance(what, dict) else table(folder, what, *good(2, 3, 4))
    with pytest.raises(UserError, match=rf"'.*parts\.csv'(, )?.*{expected}"):
        read(path)


@pytest.mark.parametrize("name", ["", "all", "..", *(f"a{sign}b" for sign in '/\\,:*?"<>|')])
def test_a_category_that_cannot_name_a_run_is_refused(folder, name):
    path = table(folder, f"images/1.png;good;{name}", header="image;label;category")
    with pytest.raises(UserError, match=r"line 2: category is '.*', expected a name, which"):
        read(path)


def test_a_file_that_is_no_table_is_refused(folder):
    path = table(folder, *good(1, 2), name="parts.xlsx")
    with pytest.raises(UserError, match=r"data\.root is '.*xlsx', a file that is no table; give"):
        read(path)
