"""Which image an entry of COCO's names."""

import json
import os

import pytest

from dtsnet_jax.errors import UserError
from tests.data.layouts import BOXES, MvtecAd, Own, coco_file, read, write
from tests.data.test_layouts_masks import (
    ANOTHER,
    SCRATCH,
    coco_at,
    masks_of,
    outlines_beside,
    picture,
)
from tests.helpers import photograph
from tests.miniature import save


@pytest.fixture
def own(tmp_path):
    return Own(tmp_path / "parts")


@pytest.mark.parametrize("kept", ["dent's mask", "a good image"])
def test_a_bare_name_that_may_be_a_rivals_is_refused(tmp_path, kept):
    layout = MvtecAd(tmp_path / "parts")
    if kept == "dent's mask":
        picture(layout, "grey")[SCRATCH][0].unlink()
    else:
        save(photograph(5), layout.images[ANOTHER].rename(layout.root / "test" / "001.png"))
        layout.images[ANOTHER].parent.rename(layout.root / "test" / "good")
        save(photograph(5), layout.root / "test" / "good" / "001.png")
    write(layout.root / "annotations.json", coco_file({"001.png": BOXES[ANOTHER]}))
    with pytest.raises(UserError, match=r"'001\.png' in '.*json' may be '.*' or '.*'; write"):
        read(layout.root)


def test_a_bare_name_is_told_apart_by_the_folder_of_its_file(own):
    write(own.root / "masks" / "dent" / "a.json", coco_file({"001.png": BOXES[ANOTHER]}))
    write(own.root / "defective" / "scratch" / "b.JSON", coco_file({"001.png": BOXES[SCRATCH]}))
    assert masks_of(read(own.root)) == {"scratch": ["b.JSON"], "dent": ["a.json"]}


def test_a_name_with_the_folder_of_another_kind_is_not_used(tmp_path):
    own = Own(tmp_path / "scratch" / "parts")
    own.images[SCRATCH].rename(own.images[SCRATCH].with_name("2.png"))
    write(own.root / "a.json", coco_file({"scratch/001.png": BOXES[SCRATCH]}))
    catalog = read(own.root)
    assert masks_of(catalog) == {"scratch": [], "dent": []}
    assert "is used for no image; it names for example 'scratch/001.png'" in catalog.notes[0]


def test_a_name_with_an_unknown_folder_is_used_and_said(own):
    image = own.images[ANOTHER].rename(own.images[ANOTHER].with_name("bad.png"))
    write(own.root / "a.json", coco_file({"export/bad.png": BOXES[ANOTHER]}))
    catalog = read(own.root)
    assert masks_of(catalog) == {"scratch": [], "dent": ["a.json"]}
    (note,) = catalog.notes
    assert note == (
        "masks: 1 images were matched by their file names only (first: 'export/bad.png' in "
        f"'{own.root / 'a.json'}' for '{image}')"
    )


def test_an_image_without_annotations_has_no_mask(own):
    content = json.loads(coco_file({"dent/001.png": BOXES[ANOTHER]}))
    content["annotations"] = []
    write(own.root / "a.json", json.dumps(content))
    catalog = read(own.root)
    assert not catalog.has_masks
    assert catalog.notes == ()


def test_images_may_lie_on_several_disks(own, monkeypatch):
    write(own.root / "a.json", coco_file({"dent/001.png": BOXES[ANOTHER]}))
    expected = masks_of(read(own.root))

    def refuse(_):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(os.path, "commonpath", refuse)
    assert masks_of(read(own.root)) == expected != {}


@pytest.mark.parametrize("layout", [Own, MvtecAd])
@pytest.mark.parametrize("name", ["_annotations.coco.json", "_annotations.coco.JSON"])
def test_coco_is_found_where_roboflow_writes_it(tmp_path, layout, name):
    layout = layout(tmp_path / "parts")
    coco_at("{bad}/" + name)(layout, "polygon")
    assert masks_of(read(layout.root)) == {"scratch": [name], "dent": [name]}


def test_suffixes_may_be_in_upper_case(own):
    coco_at("annotations/A.JSON")(own, "polygon")
    path = outlines_beside(own, "polygon")[ANOTHER][0]
    path.rename(path.with_suffix(".JSON"))
    assert masks_of(read(own.root)) == {"scratch": ["001.json"], "dent": ["001.JSON"]}
    for name in ("scratch/001.json", "dent/001.JSON"):
        (own.root / "defective" / name).unlink()
    assert masks_of(read(own.root)) == {"scratch": ["A.JSON"], "dent": ["A.JSON"]}
