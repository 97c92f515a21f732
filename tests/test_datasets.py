"""MVTec AD, VisA and BTAD: trees, archives, TFDS builders, on miniatures in the real layout."""

import functools
import hashlib
import http.server
import io
import shutil
import tarfile
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import data.btad
import data.mvtec_ad
import data.visa
from data.archives import Archive, extracted_archive
from data.dataset_builder import CategoryConfig
from data.errors import DataError
from data.images import decode_mask
from data.readers import READERS, read_catalogs
from tests import miniature

FIRST = {"mvtec_ad": "bottle", "visa": "candle", "btad": "01"}


def read(name, root, category):
    (catalog,) = read_catalogs(name, str(root), category, held_back=0.0)
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
        if sample.mask is not None:
            assert 0.005 < decode_mask(sample.mask, 64, sample.path).mean() < 0.1


def test_visa_gives_the_same_samples_from_both_trees(miniatures):
    def summary(root):
        catalog = read("visa", root, "candle")
        test = sorted((s.path.name, s.defect, s.mask and s.mask.name) for s in catalog.test)
        return [s.path.name for s in catalog.train], test

    raw = summary(miniatures / "visa")
    assert raw == summary(miniatures / "visa_arranged")
    assert raw[1][0] == ("000.JPG", "bad", "000.png")


def test_btad_is_found_in_its_outer_folder_and_without(miniatures):
    outer = read("btad", miniatures / "btad", "02")
    inner = read("btad", miniatures / "btad" / "BTech_Dataset_transformed", "02")
    assert outer == inner


class TestWrongTrees:
    def test_root_one_level_off(self, miniatures):
        with pytest.raises(DataError, match=r"give its parent '.*mvtec_ad'"):
            read("mvtec_ad", miniatures / "mvtec_ad" / "bottle", "bottle")
        with pytest.raises(DataError, match=r"did you mean '.*mvtec_ad'"):
            read("mvtec_ad", miniatures, "bottle")
        with pytest.raises(DataError, match="no folder 'candle'"):
            read("visa", miniatures / "textures", "candle")

    def test_unknown_category(self, miniatures):
        with pytest.raises(DataError, match="Did you mean 'bottle'"):
            read("mvtec_ad", miniatures / "mvtec_ad", "botle")

    def test_category_that_is_not_there(self, miniatures):
        with pytest.raises(DataError, match="no folder 'cable'"):
            read("mvtec_ad", miniatures / "mvtec_ad", "cable")

    def test_missing_mask(self, miniatures, tmp_path):
        root = changed(miniatures, tmp_path, "mvtec_ad")
        (root / "bottle/ground_truth/hole/001_mask.png").unlink()
        with pytest.raises(DataError, match=r"test/hole/001\.png.*no mask"):
            read("mvtec_ad", root, "bottle")

    def test_mask_of_another_size(self, miniatures, tmp_path):
        root = changed(miniatures, tmp_path, "mvtec_ad")
        Image.new("L", (7, 9), 255).save(root / "bottle/ground_truth/hole/001_mask.png")
        (sample,) = [
            s for s in read("mvtec_ad", root, "bottle").test if s.path.stem == "001" and s.label
        ]
        with pytest.raises(DataError, match=r"001_mask\.png' is 7×9 pixels.*is 96×96"):
            decode_mask(sample.mask, 64, sample.path)

    def test_one_training_image(self, miniatures, tmp_path):
        root = changed(miniatures, tmp_path, "btad")
        for path in list((root / "BTech_Dataset_transformed/01/train/ok").iterdir())[1:]:
            path.unlink()
        with pytest.raises(DataError, match=r"1 training images.*at least 2"):
            read("btad", root, "01")

    def test_file_of_the_split_that_is_missing(self, miniatures, tmp_path):
        root = changed(miniatures, tmp_path, "visa")
        (root / "candle/Data/Images/Normal/0003.JPG").unlink()
        with pytest.raises(DataError, match=r"0003\.JPG', listed in '.*1cls\.csv', does not exist"):
            read("visa", root, "candle")


def pack(tree: Path, path: Path) -> None:
    """Writes an archive of the kind that the file's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for source in sorted(tree.rglob("*")):
                file.write(source, source.relative_to(tree))
    else:
        with tarfile.open(path, "w:xz" if path.suffix == ".xz" else "w") as file:
            for source in sorted(tree.iterdir()):
                file.add(source, source.name)


@pytest.fixture
def packed(miniatures, tfds_data, monkeypatch):
    """Puts a data set's archive into the download folder, with its hash as the published one."""

    def make(name: str) -> Path:
        layout = READERS[name]
        path = tfds_data / "downloads" / "manual" / layout.ARCHIVE.file_name
        pack(miniatures / name, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(layout, "ARCHIVE", replace(layout.ARCHIVE, sha256=digest))
        return path

    return make


@pytest.mark.parametrize("name", FIRST)
def test_an_archive_is_verified_extracted_once_and_read(packed, miniatures, name):
    path = packed(name)
    from_archive = read(name, "", FIRST[name])
    from_tree = read(name, miniatures / name, FIRST[name])
    assert [s.path.name for s in from_archive.test] == [s.path.name for s in from_tree.test]
    path.unlink()  # the extracted tree remains
    assert read(name, "", FIRST[name]) == from_archive
    assert not [p for p in path.parent.iterdir() if p.name.startswith(".")]


def test_an_archive_may_lie_in_the_root(packed, tmp_path):
    path = packed("btad")
    (tmp_path / "mine").mkdir()
    path.rename(tmp_path / "mine" / path.name)
    assert len(read("btad", tmp_path / "mine", "01").train) == miniature.TRAIN


def test_an_archive_with_another_hash_is_refused(packed):
    path = packed("mvtec_ad")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mvtec_anomaly_detection\.tar\.xz' has the SHA-256"):
        read("mvtec_ad", "", "bottle")
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_an_archive_that_leaves_its_directory_is_refused(tmp_path, suffix):
    path = tmp_path / "downloads" / f"evil{suffix}"
    path.parent.mkdir()
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("../../outside.txt", "x")
    else:
        with tarfile.open(path, "w") as file:
            member = tarfile.TarInfo("../../outside.txt")
            member.size = 1
            file.addfile(member, io.BytesIO(b"x"))
    archive = Archive(
        f"https://example.org/evil{suffix}",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        licence="none",
    )
    with pytest.raises(DataError, match="outside"):
        extracted_archive(archive, path.parent, download=False)
    assert not (tmp_path / "outside.txt").exists()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_data_set_that_cannot_be_downloaded_says_where_to_get_it(tfds_data, monkeypatch):
    unreachable = replace(READERS["btad"].ARCHIVE, address="http://127.0.0.1:9/btad.zip")
    monkeypatch.setattr(READERS["btad"], "ARCHIVE", unreachable)
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9/btad\.zip elsewhere and put it into"):
        read("btad", "", "01")


@pytest.fixture
def served(packed):
    """Serves a data set's archive over HTTP instead of leaving it in the download folder."""
    servers = []

    def make(name: str) -> None:
        path = packed(name)
        directory = path.parent.parent / "served"
        directory.mkdir()
        path.rename(directory / path.name)
        handler = functools.partial(QuietHandler, directory=directory)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        layout = READERS[name]
        layout.ARCHIVE = replace(
            layout.ARCHIVE, address=f"http://127.0.0.1:{server.server_port}/{path.name}"
        )

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_an_archive_is_downloaded_and_verified(served, miniatures):
    served("visa")
    downloaded = read("visa", "", "candle")
    assert len(downloaded.train) == miniature.TRAIN
    assert len(downloaded.test) == miniature.TEST_GOOD + miniature.DEFECTIVE


def test_a_download_with_another_hash_is_refused(served, tfds_data):
    served("btad")
    layout = READERS["btad"]
    layout.ARCHIVE = replace(layout.ARCHIVE, sha256="0" * 64)
    with pytest.raises(DataError, match=r"btad\.zip' could not be downloaded \(SHA256 hash of"):
        read("btad", "", "01")
    assert list((tfds_data / "downloads" / "manual").iterdir()) == []


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
