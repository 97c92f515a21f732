import csv

import numpy as np
import pytest
from PIL import Image

from data import elpv
from data.errors import DataError
from data.readers import read_catalogs
from data.textures import find_textures, load_textures
from tests.conftest import photograph, save

MASK = Image.fromarray(np.uint8([[0, 1], [0, 1]])).resize((48, 40), Image.Resampling.NEAREST)


def read(name, root, category="", held_back=0.2):
    return read_catalogs(name, str(root), category, held_back=held_back)


def paths(samples, root):
    return [sample.path.relative_to(root).as_posix() for sample in samples]


class TestFolder:
    def test_holds_back_the_last_images(self, own_images):
        (catalog,) = read("folder", own_images)
        assert catalog.category == "parts"
        assert paths(catalog.train, own_images) == [f"normal/{i:03}.png" for i in range(8)]
        assert [s.defect for s in catalog.test] == ["good"] * 2 + ["scratch"] * 3
        assert catalog.has_masks
        assert "scratch" in catalog.describe()

    def test_without_defective_images_trains_on_all(self, own_images):
        for path in sorted(own_images.glob("defective/**/*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (catalog,) = read("folder", own_images)
        assert len(catalog.train) == 10
        assert catalog.test == ()

    def test_without_masks(self, own_images):
        (own_images / "masks").rename(own_images / "unused")
        (catalog,) = read("folder", own_images)
        assert not catalog.has_masks
        assert "whole images only" in catalog.describe()

    def test_other_files_are_counted_not_dropped_silently(self, own_images):
        (own_images / "normal" / "notes.txt").write_text("")
        (own_images / "normal" / ".DS_Store").write_text("")
        (catalog,) = read("folder", own_images)
        assert "ignored, no image: 1 files" in catalog.describe()

    def test_one_missing_mask_is_named(self, own_images):
        (own_images / "masks" / "scratch" / "001_mask.png").unlink()
        with pytest.raises(DataError, match=r"scratch/001\.png.*no mask"):
            read("folder", own_images)

    def test_wrong_roots_are_explained(self, own_images):
        with pytest.raises(DataError, match="give its parent"):
            read("folder", own_images / "normal")
        with pytest.raises(DataError, match=r"did you mean '.*parts'"):
            read("folder", own_images.parent)
        with pytest.raises(DataError, match="no directory"):
            read("folder", own_images / "nowhere")
        with pytest.raises(DataError, match=r"data\.root is empty"):
            read("folder", "")

    def test_one_training_image_is_too_few(self, tmp_path):
        save(photograph(0), tmp_path / "normal" / "only.png")
        with pytest.raises(DataError, match=r"1 training images.*at least 2"):
            read("folder", tmp_path)


class TestElpv:
    @pytest.mark.parametrize(
        ("category", "train", "good", "defective"),
        [("mono", 352, 236, 313), ("poly", 552, 368, 402), ("both", 904, 604, 715)],
    )
    def test_split_has_the_documented_counts(self, category, train, good, defective):
        (catalog,) = read_catalogs("elpv", "", category, held_back=0.0)
        labels = [s.label for s in catalog.test]
        assert (len(catalog.train), labels.count(0), labels.count(1)) == (train, good, defective)
        assert not {s.path for s in catalog.train} & {s.path for s in catalog.test}
        assert max(s.path.name for s in catalog.train) < min(
            s.path.name for s in catalog.test if not s.label
        )

    def test_unknown_category(self):
        with pytest.raises(DataError, match="Did you mean 'mono'"):
            read_catalogs("elpv", "", "momo", held_back=0.0)

    def test_all_categories_by_default(self):
        catalogs = read_catalogs("elpv", "", "", held_back=0.0)
        assert tuple(c.category for c in catalogs) == elpv.CATEGORIES


def mvtec_tree(root, category="bottle"):
    base = root / category
    for index in range(3):
        save(photograph(index), base / "train" / "good" / f"{index:03}.png")
    save(photograph(9), base / "test" / "good" / "000.png")
    save(photograph(10), base / "test" / "broken_large" / "000.png")
    save(MASK, base / "ground_truth" / "broken_large" / "000_mask.png")
    return root


class TestMvtec:
    def test_reads_a_category(self, tmp_path):
        (catalog,) = read("mvtec_ad", mvtec_tree(tmp_path), "bottle")
        assert len(catalog.train) == 3
        assert [(s.defect, s.label) for s in catalog.test] == [("broken_large", 1), ("good", 0)]
        assert catalog.test[0].mask.name == "000_mask.png"

    def test_root_one_level_off_is_explained(self, tmp_path):
        root = mvtec_tree(tmp_path / "mvtec")
        with pytest.raises(DataError, match="give its parent"):
            read("mvtec_ad", root / "bottle", "bottle")
        with pytest.raises(DataError, match=r"did you mean '.*mvtec'"):
            read("mvtec_ad", tmp_path, "bottle")

    def test_unknown_category(self, tmp_path):
        with pytest.raises(DataError, match="Did you mean 'bottle'"):
            read("mvtec_ad", mvtec_tree(tmp_path), "botle")

    def test_missing_mask(self, tmp_path):
        root = mvtec_tree(tmp_path)
        (root / "bottle/ground_truth/broken_large/000_mask.png").unlink()
        with pytest.raises(DataError, match=r"test/broken_large/000\.png.*no mask"):
            read("mvtec_ad", root, "bottle")


def test_visa_gives_the_same_samples_from_both_trees(tmp_path):
    raw, arranged = tmp_path / "raw", tmp_path / "arranged"
    rows = []
    for index in range(4):
        name = f"candle/Data/Images/Normal/{index:04}.JPG"
        save(photograph(index), raw / name)
        split = "train" if index < 3 else "test"
        rows.append(("candle", split, "normal", name, ""))
        save(photograph(index), arranged / "candle" / split / "good" / f"{index:04}.JPG")
    image, mask = "candle/Data/Images/Anomaly/000.JPG", "candle/Data/Masks/Anomaly/000.png"
    save(photograph(9), raw / image)
    save(MASK, raw / mask)
    save(photograph(9), arranged / "candle" / "test" / "bad" / "000.JPG")
    save(MASK, arranged / "candle" / "ground_truth" / "bad" / "000.png")
    rows.append(("candle", "test", "anomaly", image, mask))
    (raw / "split_csv").mkdir()
    with (raw / "split_csv" / "1cls.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("object", "split", "label", "image", "mask"), *rows])

    def summary(root):
        (catalog,) = read("visa", root, "candle")
        test = sorted((s.path.name, s.defect, s.mask and s.mask.name) for s in catalog.test)
        return [s.path.name for s in catalog.train], test

    assert summary(raw) == summary(arranged)
    assert summary(raw)[1] == [("000.JPG", "bad", "000.png"), ("0003.JPG", "good", None)]


@pytest.mark.parametrize("outer", ["", "BTech_Dataset_transformed"])
def test_btad_with_and_without_its_outer_folder(tmp_path, outer):
    base = tmp_path / outer / "02"
    for index in range(2):
        save(photograph(index), base / "train" / "ok" / f"{index}.png")
    save(photograph(2), base / "test" / "ok" / "7.png")
    save(photograph(3), base / "test" / "ko" / "8.bmp")
    save(MASK, base / "ground_truth" / "ko" / "8.png")
    (catalog,) = read("btad", tmp_path, "02")
    assert [(s.path.name, s.defect) for s in catalog.test] == [("8.bmp", "ko"), ("7.png", "good")]
    assert catalog.has_masks


class TestTextures:
    def test_scikit_image_photographs_exist(self):
        assert all(path.is_file() for path in find_textures("scikit-image"))
        textures = load_textures("scikit-image", 32, gray=True)
        assert textures.shape == (14, 32, 32, 3)
        assert (textures[..., 0] == textures[..., 2]).all()

    def test_none_is_refused_with_advice(self):
        with pytest.raises(DataError, match="DTD"):
            find_textures("")

    def test_empty_directory_is_refused(self, tmp_path):
        with pytest.raises(DataError, match="no image"):
            find_textures(str(tmp_path))

    def test_directories_are_searched_to_the_bottom(self, tmp_path):
        save(photograph(0), tmp_path / "images" / "banded" / "banded_0001.jpg")
        assert len(find_textures(str(tmp_path))) == 1
