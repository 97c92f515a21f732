"""The trees of MVTec AD, LOCO and AD 2 under data.name=folder."""

import shutil

import numpy as np
import pytest
from PIL import Image

from data.masks import open_masks
from tests.data.layouts import BOXES, MvtecAd, MvtecAd2, marked, read, read_all
from tests.helpers import photograph
from tests.miniature import save


def kinds(catalog):
    return [sample.defect for sample in catalog.test]


def test_a_category_of_mvtec_ad_under_any_name(miniatures, tmp_path):
    shutil.copytree(miniatures / "mvtec_ad" / "bottle", tmp_path / "teapot")
    catalog = read(tmp_path / "teapot")
    assert catalog.category == "teapot"
    assert len(catalog.train) == 6
    assert sorted(set(kinds(catalog))) == ["good", "hole", "thread"]
    assert "masks of 3 of 3" in catalog.describe()
    assert catalog.notes == catalog.ignored == ()


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        ("mvtec_ad", ["bottle", "carpet", "grid"]),
        ("visa_arranged", ["candle", "pcb1"]),
        ("btad/BTech_Dataset_transformed", ["01", "02", "03"]),
    ],
)
def test_all_categories_of_a_published_tree(miniatures, tree, names):
    catalogs = read_all(miniatures / tree)
    assert [catalog.category for catalog in catalogs] == names
    for catalog in catalogs:
        assert "masks of 3 of 3" in catalog.describe()
        assert kinds(catalog).count("good") == 2
    (one,) = read_all(miniatures / tree, names[1])
    assert one == catalogs[1]


def test_without_ground_truth_there_are_no_masks(miniatures, tmp_path):
    shutil.copytree(miniatures / "mvtec_ad" / "bottle", tmp_path / "bottle")
    shutil.rmtree(tmp_path / "bottle" / "ground_truth")
    assert not read(tmp_path / "bottle").has_masks
    shutil.rmtree(tmp_path / "bottle" / "test")
    assert read(tmp_path / "bottle").test == ()


def test_a_single_mask_may_be_missing(miniatures, tmp_path):
    shutil.copytree(miniatures / "mvtec_ad" / "bottle", tmp_path / "bottle")
    (tmp_path / "bottle" / "ground_truth" / "hole" / "001_mask.png").unlink()
    assert "masks of 2 of 3" in read(tmp_path / "bottle").describe()


def test_loco_has_a_folder_of_masks_an_image_and_a_validation_part(tmp_path):
    root = tmp_path / "breakfast_box"
    for index in range(3):
        save(photograph(index), root / "train" / "good" / f"{index:03}.png")
        save(photograph(index), root / "validation" / "good" / f"{index:03}.png")
    (left, top, right, bottom), other = BOXES.values()
    for number, box in enumerate([(left, top, right, bottom), other]):
        image = Image.fromarray(marked(box).astype(np.uint8) * (254 - number))
        save(image, root / "ground_truth" / "logical_anomalies" / "000" / f"{number:03}.png")
    save(photograph(9), root / "test" / "logical_anomalies" / "000.png")
    (root / "defects_config.json").write_text('[{"defect_name": "a", "pixel_value": 254}]')
    catalog = read(root)
    assert len(catalog.train) == 3
    (sample,) = catalog.test
    np.testing.assert_array_equal(
        open_masks(sample, invert=False), marked((left, top, right, bottom)) | marked(other)
    )
    assert catalog.notes == (f"not used: the folders validation in '{root}'",)
    assert catalog.ignored == (root / "defects_config.json",)


def test_ad_2_has_a_public_test(tmp_path):
    layout = MvtecAd2(tmp_path / "can")
    (layout.root / "test_public" / "scratch").rename(layout.root / "test_public" / "bad")
    for folder in ("test_public/good", "validation/good", "test_private"):
        save(photograph(5), layout.root / folder / "000_regular.png")
    mask = layout.root / "test_public" / "ground_truth" / "bad" / "001_mask.png"
    save(Image.fromarray(marked(BOXES[next(iter(BOXES))])), mask)
    catalog = read(layout.root)
    assert kinds(catalog) == ["good", "bad", "dent"]
    assert [sample.masks for sample in catalog.test] == [(), (mask,), ()]
    assert catalog.notes == (f"not used: the folders test_private, validation in '{layout.root}'",)


def test_folders_may_be_in_upper_case(tmp_path):
    layout = MvtecAd(tmp_path / "parts")
    save(photograph(5), layout.root / "test" / "Good" / "1.png")
    (layout.root / "train" / "good").rename(layout.root / "train" / "Good")
    (layout.root / "train").rename(layout.root / "Train")
    (layout.root / "test").rename(layout.root / "Test")
    save(Image.fromarray(marked((1, 1, 9, 9))), layout.root / "Ground_Truth" / "dent" / "001.png")
    catalog = read(layout.root)
    assert len(catalog.train) == 10
    assert kinds(catalog) == ["good", "dent", "scratch"]
    assert catalog.has_masks
    assert catalog.notes == ()


def test_all_that_is_not_read_is_named(tmp_path):
    layout = MvtecAd(tmp_path / "parts")
    names = ("test_public/good/1.png", "train/z.png", "train/ng/1.png", "0.png", "new/1.png")
    for path in (*names, "test/loose.png"):
        save(photograph(5), layout.root / path)
    assert read(layout.root).notes == (
        f"not used: the folders new, test_public and 1 images (first: 0.png) in '{layout.root}'",
        f"not used: the folders ng and 1 images (first: z.png) in '{layout.root / 'train'}'",
        f"not used: 1 images (first: loose.png) in '{layout.root / 'test'}'",
    )
