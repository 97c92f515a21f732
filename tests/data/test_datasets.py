"""MVTec AD, VisA and BTAD: trees and TFDS builders, on miniatures in the real layout."""

import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import data.btad
import data.mvtec_ad
import data.visa
from data.dataset_builder import CategoryConfig
from data.masks import check_mask_size, open_masks
from data.readers import read_catalogs
from dtsnet_jax.errors import UserError
from tests import miniature
from tests.helpers import NOTHING_HELD_BACK


def read(name, root, category):
    (catalog,) = read_catalogs(name, str(root), category, **NOTHING_HELD_BACK)
    return catalog


def changed(miniatures, tmp_path, name):
    return Path(shutil.copytree(miniatures / name, tmp_path / name))


@pytest.mark.parametrize(
    ("name", "category", "kinds", "texture"),
    [
        ("mvtec_ad", "bottle", {"good", "hole", "thread"}, False),
        ("mvtec_ad", "grid", {"good", "hole", "thread"}, True),
        ("visa", "pcb1", {"good", "bad"}, False),
        ("btad", "01", {"good", "ko"}, False),
        ("btad", "02", {"good", "ko"}, False),
        ("btad", "03", {"good", "ko"}, False),
    ],
)
def test_a_category_is_listed_with_its_masks(miniatures, name, category, kinds, texture):
    catalog = read(name, miniatures / name, category)
    assert len(catalog.train) == miniature.TRAIN
    assert {sample.defect for sample in catalog.test} == kinds
    assert sum(sample.label for sample in catalog.test) == miniature.DEFECTIVE
    assert catalog.has_masks
    assert catalog.texture == texture
    for sample in catalog.test:
        if sample.masks:
            assert 0.005 < open_masks(sample, invert=False).mean() < 0.1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"candle,train\r\n", "row 2 is damaged"),
        (b"candle,other,normal,a.JPG,\r\n", "row 2 is damaged"),
        (b"\xff\r\n", "is damaged"),
    ],
)
def test_a_damaged_list_of_visa_is_named(miniatures, tmp_path, damage, message):
    shutil.copytree(miniatures / "visa", tmp_path / "visa")
    table = tmp_path / "visa" / "split_csv" / "1cls.csv"
    header, rest = table.read_bytes().split(b"\n", 1)
    table.write_bytes(header + b"\n" + damage + rest)
    with pytest.raises(UserError, match=rf"1cls\.csv'.*{message}"):
        read_catalogs(
            "visa", str(tmp_path / "visa"), "candle", held_back=0.0, held_back_by="spread"
        )


def test_visa_gives_the_same_samples_from_both_trees(miniatures):
    def summary(root):
        catalog = read("visa", root, "candle")
        test = sorted((s.path.name, s.defect, [m.name for m in s.masks]) for s in catalog.test)
        return [s.path.name for s in catalog.train], test

    raw = summary(miniatures / "visa")
    assert raw == summary(miniatures / "visa_arranged")
    assert raw[1][0] == ("000.JPG", "bad", ["000.png"])


def test_btad_is_found_in_its_outer_folder_and_without(miniatures):
    outer = read("btad", miniatures / "btad", "02")
    inner = read("btad", miniatures / "btad" / "BTech_Dataset_transformed", "02")
    assert outer == inner


class TestWrongTrees:
    def test_root_one_level_off(self, miniatures):
        with pytest.raises(UserError, match=r"give its parent '.*mvtec_ad'"):
            read("mvtec_ad", miniatures / "mvtec_ad" / "bottle", "bottle")
        with pytest.raises(UserError, match=r"did you mean '.*mvtec_ad'"):
            read("mvtec_ad", miniatures, "bottle")
        with pytest.raises(UserError, match="no folder 'candle'"):
            read("visa", miniatures / "textures", "candle")

    def test_unknown_category(self, miniatures):
        with pytest.raises(UserError, match="Did you mean 'bottle'"):
            read("mvtec_ad", miniatures / "mvtec_ad", "botle")

    def test_category_that_is_not_there(self, miniatures):
        with pytest.raises(UserError, match="no folder 'cable'"):
            read("mvtec_ad", miniatures / "mvtec_ad", "cable")

    def test_missing_mask(self, miniatures, tmp_path):
        root = changed(miniatures, tmp_path, "mvtec_ad")
        (root / "bottle/ground_truth/hole/001_mask.png").unlink()
        with pytest.raises(UserError, match=r"test/hole/001\.png.*no mask"):
            read("mvtec_ad", root, "bottle")

    def test_mask_of_another_size(self, miniatures, tmp_path):
        root = changed(miniatures, tmp_path, "mvtec_ad")
        Image.new("L", (7, 9), 255).save(root / "bottle/ground_truth/hole/001_mask.png")
        (sample,) = [
            s for s in read("mvtec_ad", root, "bottle").test if s.path.stem == "001" and s.label
        ]
        with pytest.raises(UserError, match=r"001_mask\.png' is 7×9 pixels.*is 96×96"):
            check_mask_size(sample.masks[0], sample.path)

    def test_one_training_image(self, miniatures, tmp_path):
        root = changed(miniatures, tmp_path, "btad")
        for path in list((root / "BTech_Dataset_transformed/01/train/ok").iterdir())[1:]:
            path.unlink()
        with pytest.raises(UserError, match=r"1 training images.*at least 2"):
            read("btad", root, "01")

    def test_file_of_the_split_that_is_missing(self, miniatures, tmp_path):
        root = changed(miniatures, tmp_path, "visa")
        (root / "candle/Data/Images/Normal/0003.JPG").unlink()
        with pytest.raises(UserError, match=r"0003\.JPG', listed in '.*1cls\.csv', does not exist"):
            read("visa", root, "candle")


class BuilderTest:
    """What TFDS asks of every builder, on the miniature."""

    SPLITS: ClassVar = {"train": miniature.TRAIN, "test": miniature.TEST_GOOD + miniature.DEFECTIVE}

    @pytest.fixture(autouse=True)
    def tree(self, miniatures):
        type(self).EXAMPLE_DIR = miniatures / self.DATASET_CLASS.name


class TestMvtecBuilder(BuilderTest, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = data.mvtec_ad.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ("bottle", "grid")


class TestVisaBuilder(BuilderTest, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = data.visa.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ("candle",)


class TestBtadBuilder(BuilderTest, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = data.btad.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ("01", "02", "03")


def test_tfds_loads_what_the_reader_lists(miniatures, tfds_data):
    options = {"download_config": tfds.download.DownloadConfig(manual_dir=miniatures / "visa")}
    dataset = tfds.load(
        "visa/candle", data_dir=tfds_data, split="test", download_and_prepare_kwargs=options
    )
    examples = {e["file_name"].decode(): e for e in tfds.as_numpy(dataset)}
    catalog = read("visa", miniatures / "visa", "candle")
    assert len(examples) == len(catalog.test)
    for sample in catalog.test:
        example = examples[sample.path.relative_to(miniatures / "visa").as_posix()]
        assert (example["label"], example["defect"].decode()) == (sample.label, sample.defect)
        assert set(np.unique(example["mask"])) <= {0, 255}
        assert example["mask"].any() == bool(sample.label)
        assert (example["foreground"] == 255).all()


def test_a_builder_stores_the_foregrounds_asked_for(miniatures, tfds_data):
    config = CategoryConfig(name="bottle_threshold", category="bottle", foreground="threshold")
    builder = data.mvtec_ad.Builder(data_dir=tfds_data, config=config)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=miniatures / "mvtec_ad")
    )
    for example in tfds.as_numpy(builder.as_dataset(split="train")):
        foreground = example["foreground"][..., 0] > 0
        part = example["image"][..., 0] < 150
        assert (foreground == part).mean() > 0.97
