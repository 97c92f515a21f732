"""Every kind of mask in every layout, and which mask belongs to which image."""

import json
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from data.masks import inspect_masks, open_masks
from dtsnet_jax.errors import UserError
from tests.data.layouts import (
    BOXES,
    LAYOUTS,
    PICTURES,
    SEGMENTS,
    SHAPES,
    Own,
    coco_file,
    labelme,
    marked,
    read,
    write,
)
from tests.helpers import photograph
from tests.miniature import save

SCRATCH, ANOTHER = BOXES


def picture(layout, kind):
    suffix, draw = PICTURES[kind]
    options = {"quality": 95} if kind == "JPEG" else {}
    masks = {}
    for key, box in BOXES.items():
        path = layout.mask(key, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(marked(box)).save(path, **options)
        masks[key] = [path]
    return masks


def folder_of_pictures(layout, _):
    masks = {}
    for key, box in BOXES.items():
        left, top, right, bottom = box
        middle = (left + right) // 2
        halves = [(left, top, middle, bottom), (middle, top, right, bottom)]
        folder = layout.mask(key, "").parent / key.name
        masks[key] = [
            save(Image.fromarray(marked(half).astype(np.uint8) * 250), folder / f"{i:03}.png")
            for i, half in enumerate(halves)
        ]
    return masks


def outlines_as_masks(layout, kind):
    return {
        key: [write(layout.mask(key, ".json"), labelme("a.png", SHAPES[kind](box)))]
        for key, box in BOXES.items()
    }


def outlines_beside(layout, kind):
    return {
        key: [write(layout.images[key].with_suffix(".json"), labelme("a.png", SHAPES[kind](box)))]
        for key, box in BOXES.items()
    }


def coco_at(place):
    def write_coco(layout, kind):
        boxes = {f"{key.as_posix()}.png": box for key, box in BOXES.items()}
        path = layout.directory / place.format(bad=layout.bad, truth=layout.truth)
        write(path, coco_file(boxes, kind))
        return {key: [path] for key in BOXES}

    return write_coco


KINDS = (
    *((kind, picture) for kind in PICTURES),
    ("a folder", folder_of_pictures),
    *((kind, outlines_as_masks) for kind in SHAPES),
    ("polygon", outlines_beside),
    *((kind, coco_at("annotations.json")) for kind in SEGMENTS),
    ("polygon", coco_at("{truth}/instances.json")),
    ("polygon", coco_at("annotations/instances.json")),
    ("polygon", coco_at("{bad}/dent/_annotations.coco.json")),
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize(("kind", "write_masks"), KINDS)
def test_every_layout_takes_every_kind_of_mask(layout, kind, write_masks, tmp_path):
    layout = layout(tmp_path / "parts")
    layout.finish(write_masks(layout, kind))
    catalog = read(layout.root)
    found = {sample.path: sample for sample in catalog.test if sample.label}
    assert len(found) == 2
    for key, box in BOXES.items():
        sample = found[layout.images[key]]
        assert sample.defect == key.parent.name
        np.testing.assert_array_equal(open_masks(sample, invert=False), marked(box))
    assert catalog.notes == catalog.ignored == ()
    assert "masks of 2 of 2 defective images" in catalog.describe()
    assert inspect_masks(catalog.test, invert=False) == []


@pytest.fixture
def own(tmp_path):
    return Own(tmp_path / "parts")


def masks_of(catalog):
    return {s.path.parent.name: [m.name for m in s.masks] for s in catalog.test if s.label}


class TestWhichMaskBelongsToWhichImage:
    def test_images_without_a_mask_stand_beside_others(self, own):
        mask = picture(own, "grey")[ANOTHER][0]
        mask.unlink()
        catalog = read(own.root)
        assert masks_of(catalog) == {"scratch": ["001.png"], "dent": []}
        assert catalog.has_masks
        assert (
            "masks of 1 of 2 defective images; metrics of pixels leave the others out, first: "
            in (catalog.describe())
        )

    def test_masks_of_no_image_are_named(self, own):
        picture(own, "grey")
        save(Image.new("L", (48, 40)), own.root / "masks" / "001.png")
        write(own.root / "masks" / "notes.txt", "")
        catalog = read(own.root)
        (note,) = catalog.notes
        assert "1 files belong to no defective image" in note
        assert str(own.root / "masks" / "001.png") in note
        assert catalog.ignored == (own.root / "masks" / "notes.txt",)

    def test_pictures_go_before_outlines_and_these_before_coco(self, own):
        outlines_beside(own, "polygon")
        coco_at("annotations.json")(own, "polygon")
        assert masks_of(read(own.root)) == {"scratch": ["001.json"], "dent": ["001.json"]}
        picture(own, "grey")[ANOTHER][0].unlink()
        assert masks_of(read(own.root)) == {"scratch": ["001.png"], "dent": ["001.json"]}

    def test_coco_tells_folders_apart(self, own):
        write(own.root / "a.json", coco_file({"C:\\work\\dent\\001.png": BOXES[ANOTHER]}))
        catalog = read(own.root)
        assert masks_of(catalog) == {"scratch": [], "dent": ["a.json"]}
        (sample,) = [s for s in catalog.test if s.masks]
        np.testing.assert_array_equal(open_masks(sample, invert=False), marked(BOXES[ANOTHER]))

    def test_an_entry_of_a_good_image_is_no_mask(self, own):
        own.images[ANOTHER].unlink()
        names = {"normal/001.png": BOXES[ANOTHER]}
        write(own.root / "a.json", coco_file(names))
        catalog = read(own.root)
        assert masks_of(catalog) == {"scratch": []}
        assert catalog.notes == (
            f"masks: '{own.root / 'a.json'}' is used for no image; it names for example "
            "'normal/001.png'",
        )

    def test_a_bare_name_of_one_image_is_enough(self, own):
        own.images[ANOTHER].rename(own.images[ANOTHER].with_name("bad.png"))
        write(own.root / "a.json", coco_file({"bad.png": BOXES[ANOTHER]}))
        catalog = read(own.root)
        assert masks_of(catalog) == {"scratch": [], "dent": ["a.json"]}
        assert catalog.notes == ()

    def test_a_bare_name_of_two_images_is_refused(self, own):
        write(own.root / "a.json", coco_file({"001.png": BOXES[ANOTHER]}))
        expected = (
            r"'001\.png' in '.*a\.json' may be '.*dent/001\.png' or '.*scratch/001\.png'; write"
        )
        with pytest.raises(UserError, match=expected):
            read(own.root)

    def test_an_image_that_is_named_twice_is_refused(self, own):
        for name in ("a.json", "b.json"):
            write(own.root / name, coco_file({"dent/001.png": BOXES[ANOTHER]}))
        with pytest.raises(UserError, match=r"dent/001\.png' is named twice.*a\.json.*b\.json"):
            read(own.root)

    def test_two_masks_of_an_image_are_refused(self, own):
        picture(own, "grey")
        outlines_as_masks(own, "polygon")
        with pytest.raises(
            UserError, match=r"001\.png' and '.*001\.json' belong to the same image"
        ):
            read(own.root)

    def test_a_mask_of_two_images_is_refused(self, own):
        save(photograph(3), own.images[ANOTHER].with_suffix(".jpg"))
        picture(own, "grey")
        expected = r"masks/dent/001\.png' may belong to '.*001\.jpg' or to '.*001\.png'"
        with pytest.raises(UserError, match=expected):
            read(own.root)

    def test_json_of_another_kind_is_refused_among_masks_only(self, own):
        write(own.images[ANOTHER].with_suffix(".json"), json.dumps({"exposure": 3}))
        write(own.root / "defects_config.json", "[]")
        assert len(read(own.root).ignored) == 2
        other = write(own.root / "masks" / "dent" / "001.json", "{}")
        with pytest.raises(UserError, match=r"001\.json' is neither JSON of LabelMe nor of COCO"):
            read(own.root)
        other.write_text("{")
        with pytest.raises(UserError, match=r"001\.json' is no JSON \(Expecting property name"):
            read(own.root)


class TestNames:
    def test_json_that_is_not_about_masks_is_left_out_and_named(self, own):
        settings = write(own.root / "settings.json", "{} // of the camera")
        catalog = read(own.root)
        assert catalog.ignored == (settings,)
        assert catalog.notes[0].startswith(f"not used: '{settings}' is no JSON (Extra data")

    @pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
    @pytest.mark.parametrize("write_masks", [picture, outlines_beside, coco_at("a.json")])
    def test_forms_of_unicode_are_one(self, own, forms, write_masks):
        write_masks(own, "grey" if write_masks is picture else "polygon")
        image, other = (normalize(form, "Größe.png") for form in forms)
        own.images[ANOTHER].rename(own.images[ANOTHER].with_name(image))
        for folder in ("masks", "defective"):
            for file in (own.root / folder / "dent").glob("001.*"):
                file.rename(file.with_stem(other[:-4]))
        if (own.root / "a.json").is_file():
            write(own.root / "a.json", coco_file({f"dent/{other}": BOXES[ANOTHER]}))
        (sample,) = [s for s in read(own.root).test if s.defect == "dent"]
        np.testing.assert_array_equal(open_masks(sample, invert=False), marked(BOXES[ANOTHER]))

    def test_an_image_called_mask_has_the_mask_of_its_name(self, own):
        image = own.images[ANOTHER].rename(own.images[ANOTHER].with_name("a_mask.png"))
        mask = picture(own, "grey")[ANOTHER][0]
        mask.rename(mask.with_name("a_mask.png"))
        assert masks_of(read(own.root)) == {"scratch": ["001.png"], "dent": ["a_mask.png"]}
        save(photograph(3), image.with_name("a.png"))
        masks = {sample.path.name: sample.masks for sample in read(own.root).test}
        assert masks["a.png"] == ()
        assert len(masks["a_mask.png"]) == 1
