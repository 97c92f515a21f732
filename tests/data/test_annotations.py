"""Outlines in JSON: what they cover, and what is refused."""

import json

import numpy as np
import pytest

from data.annotations import read_annotations
from dtsnet_jax.errors import UserError
from tests.data.layouts import (
    SHAPE,
    coco_file,
    corners,
    labelme,
    labelme_bitmap,
    marked,
    shape,
    write,
)

BOX = (12, 10, 20, 22)


def drawn(tmp_path, *shapes):
    return read_annotations(write(tmp_path / "a.json", labelme("i.png", *shapes))).marks[0]


def test_shapes_are_united_whatever_they_are_called(tmp_path):
    other = (30, 5, 44, 9)
    shapes = [shape("polygon", corners(box), label=str(box)) for box in (BOX, other, other)]
    np.testing.assert_array_equal(drawn(tmp_path, *shapes).draw(), marked(BOX) | marked(other))


def test_a_circle_has_a_centre_and_a_point_on_it(tmp_path):
    mask = drawn(tmp_path, shape("circle", [[24, 20], [24, 12]])).draw()
    assert abs(mask.sum() - np.pi * 64) < 10
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max()) == (12, 27)
    assert (columns.min(), columns.max()) == (16, 31)


def test_what_lies_outside_is_cut_off(tmp_path):
    polygon = shape("polygon", [[40, -20], [90, -20], [90, 60], [40, 60]])
    np.testing.assert_array_equal(drawn(tmp_path, polygon).draw(), marked((40, 0, 48, 40)))


@pytest.mark.parametrize("kind", ["line", "linestrip", "point"])
def test_lines_and_points_cover_nothing_and_are_counted(tmp_path, kind):
    marks = drawn(tmp_path, shape(kind, [[1, 1], [9, 9]]))
    assert marks.without_area == 1
    assert marks.draw().shape == SHAPE
    assert not marks.draw().any()


def test_a_polygon_of_two_points_covers_nothing(tmp_path):
    marks = drawn(tmp_path, shape("polygon", [[1, 1], [9, 9]]), shape("polygon", []))
    assert marks.without_area == 2
    assert not marks.draw().any()


def test_a_shape_without_kind_is_a_polygon(tmp_path):
    np.testing.assert_array_equal(drawn(tmp_path, shape(None, corners(BOX))).draw(), marked(BOX))


def test_a_segment_of_two_points_covers_nothing(tmp_path):
    content = json.loads(coco_file({"i.png": BOX}))
    content["annotations"][0]["segmentation"].append([1, 1, 9, 9])
    marks = read_annotations(write(tmp_path / "a.json", json.dumps(content))).marks[0]
    assert marks.without_area == 1
    np.testing.assert_array_equal(marks.draw(), marked(BOX))


def test_a_file_is_read_again_when_it_has_changed(tmp_path):
    assert drawn(tmp_path).draw().sum() == 0
    assert drawn(tmp_path, shape("rectangle", [[0, 0], [2, 3]])).draw().sum() == 6


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"images": [], "categories": []}'])
def test_other_json_is_none_of_both(tmp_path, text):
    assert read_annotations(write(tmp_path / "a.json", text)) is None


FAR = shape("polygon", [[0, 0], [1e9, 0], [0, 5]])
BAD_LABELME = {
    "no JSON": ("{", "is no JSON"),
    "no size": (labelme("i.png", size=(None, None)), r"'i\.png' is stated as None×None"),
    "an unknown shape": (labelme("i.png", shape("cube", [])), "a shape is a 'cube', expected one"),
    "points that are no pairs": (
        labelme("i.png", shape("polygon", [[1, 1, 1], [2, 2, 2], [3, 3, 3]])),
        "not pairs of numbers",
    ),
    "a bitmap nowhere": (labelme("i.png", shape("mask", [[np.nan, 0], [1, 1]])), "far outside"),
    "no bitmap": (labelme("i.png", shape("mask", [[0, 0], [1, 1]])), "holds no picture"),
    "a deep nest": ("[" * 100_000, "is no JSON"),
    "a point far away": (labelme("i.png", FAR), "far outside"),
    "no number": (labelme("i.png", shape("polygon", [[1, 1], [2, "x"], [3, 3]])), "is damaged"),
    "no points": (labelme("i.png", {"label": "x"}), "is damaged"),
    "a broken bitmap": (
        labelme("i.png", shape("mask", [[0, 0], [1, 1]], mask="AA==")),
        "no picture",
    ),
    "an outline to and fro": (
        labelme("i.png", shape("polygon", [[0, 0], [480, 400]] * 10_000)),
        "longer than 4,000,000 pixels",
    ),
    "a bitmap larger than its image": (
        labelme("i.png", labelme_bitmap((0, 0, 48, 40)), size=(40, 40)),
        "no picture",
    ),
    "a bitmap of a file that ends": (
        labelme("i.png", shape("mask", [[0, 0], [1, 1]], mask="iVBORw0KGgo=")),
        "no picture",
    ),
    "a size beyond all memory": (labelme("i.png", size=(10**9, 10**9)), "at most 1,073,741,824"),
    "a name without end": (labelme("i" * 10_000, size=(0, 0)), " …"),
    "no text": ('{"shapes": [3], "imageWidth": 3, "imageHeight": 3}', "is damaged"),
}


@pytest.mark.parametrize("mistake", BAD_LABELME)
def test_unusable_labelme_is_named(tmp_path, mistake):
    text, expected = BAD_LABELME[mistake]
    with pytest.raises(UserError, match=rf"a\.json'.*{expected}") as error:
        read_annotations(write(tmp_path / "a.json", text))
    assert len(str(error.value)) < 1000


RUNS = {
    "too few runs": {"size": SHAPE, "counts": [5, 5]},
    "too many runs": {"size": SHAPE, "counts": [0, 40 * 48 + 1]},
    "negative runs": {"size": SHAPE, "counts": [-5, 40 * 48 + 5]},
    "runs of half a pixel": {"size": SHAPE, "counts": [0.5, 40 * 48 - 0.5]},
    "no runs": {"size": SHAPE, "counts": []},
    "rubbish": {"size": SHAPE, "counts": "zzzz~~~"},
    "a run without end": {"size": SHAPE, "counts": "z" * 1_000_000},
    "another size": {"size": [48, 40], "counts": [40 * 48]},
    "no counts": {"size": SHAPE},
}


@pytest.mark.parametrize("mistake", RUNS)
def test_runs_that_do_not_fit_the_image_are_refused(tmp_path, mistake):
    content = json.loads(coco_file({"i.png": BOX}))
    content["annotations"][0]["segmentation"] = RUNS[mistake]
    with pytest.raises(UserError, match=r"a\.json'.*(run-length code (is not|has)|is damaged)"):
        read_annotations(write(tmp_path / "a.json", json.dumps(content)))


def test_coco_without_sizes_or_names_is_refused(tmp_path):
    content = json.loads(coco_file({"i.png": BOX}))
    content["images"][0]["height"] = 0
    with pytest.raises(UserError, match=r"'i\.png' is stated as 48×0, expected whole numbers"):
        read_annotations(write(tmp_path / "a.json", json.dumps(content)))
    content["images"][0] |= {"height": 40, "file_name": 3}
    with pytest.raises(UserError, match="the file_name of an image is 3, expected a text"):
        read_annotations(write(tmp_path / "c.json", json.dumps(content)))
    del content["images"][0]["file_name"]
    with pytest.raises(UserError, match=r"a\.json' is damaged.*file_name"):
        read_annotations(
            write(tmp_path / "b.json", json.dumps(content)).rename(tmp_path / "a.json")
        )


def test_an_image_fits_the_name_that_has_most_in_common(tmp_path):
    names = ["a/x/1.png", "b/x/1.png", "1.png", "11.png"]
    file = write(tmp_path / "a.json", coco_file(dict.fromkeys(names, BOX)))
    annotations = read_annotations(file)
    assert annotations.find(tmp_path / "b" / "x" / "1.png").name == "b/x/1.png"
    assert annotations.find(tmp_path / "2.png") is None
    with pytest.raises(UserError, match=r"twice, as 'a/x/1\.png' and 'b/x/1\.png'"):
        annotations.find(tmp_path / "c" / "x" / "1.png")


def test_coco_with_confused_ids_is_refused(tmp_path):
    content = json.loads(coco_file({"a.png": BOX, "b.png": BOX}))
    content["images"][1]["id"] = 7
    with pytest.raises(UserError, match=r"the images 'a\.png' and 'b\.png' have the same id, 7; "):
        read_annotations(write(tmp_path / "a.json", json.dumps(content)))
    content["images"][1]["id"] = "8"
    with pytest.raises(UserError, match="an annotation is of the image_id 8, which no image has"):
        read_annotations(write(tmp_path / "b.json", json.dumps(content)))
