import os
import shutil
from pathlib import Path

import pytest

from data.catalog import Catalog, Sample, list_images, subfolders
from dtsnet_jax.errors import UserError
from tests.data.layouts import write

GOOD = (Sample(Path("1.png")), Sample(Path("2.png")))


def names(directory):
    return [path.relative_to(directory).as_posix() for path in list_images(directory)[0]]


def fill(directory, *files):
    for file in files:
        write(directory / file, "")
    return directory


def test_names_sort_as_people_count(tmp_path):
    fill(tmp_path, "b10/1.png", "b9/10.png", "b9/9.png", "b9/01.png", "b9/1.png", "a.png")
    assert names(tmp_path) == [
        "a.png", "b9/01.png", "b9/1.png", "b9/9.png", "b9/10.png", "b10/1.png"
    ]  # fmt: skip


def test_files_of_all_formats_are_images_and_others_are_not(tmp_path):
    suffixes = [
        "png", "jpg", "JPEG", "webp", "bmp", "tif", "TIFF", "jp2", "j2k", "pgm", "ppm", "pbm"
    ]  # fmt: skip
    fill(tmp_path, *(f"{i}.{suffix}" for i, suffix in enumerate(suffixes)), "a.txt", ".b.png")
    fill(tmp_path, ".hidden/c.png")
    images, others = list_images(tmp_path)
    assert len(images) == len(suffixes)
    assert others == [tmp_path / "a.txt"]


class TestLinks:
    def test_to_directories_are_followed(self, tmp_path):
        fill(tmp_path / "archive", "1.png", "deep/2.png")
        (tmp_path / "normal").mkdir()
        (tmp_path / "normal" / "monday").symlink_to(tmp_path / "archive")
        (tmp_path / "normal" / "tuesday").symlink_to(Path("..") / "archive")
        assert names(tmp_path / "normal") == [
            "monday/1.png", "monday/deep/2.png", "tuesday/1.png", "tuesday/deep/2.png"
        ]  # fmt: skip
        shutil.move(tmp_path / "normal", tmp_path / "moved")
        assert len(names(tmp_path / "moved")) == 4

    @pytest.mark.parametrize("target", [".", "..", "../.."])
    def test_that_lead_back_are_refused(self, tmp_path, target):
        fill(tmp_path / "normal", "a/1.png")
        (tmp_path / "normal" / "a" / "loop").symlink_to(target)
        with pytest.raises(UserError, match=r"is a link to '.*', a directory that it lies in"):
            list_images(tmp_path / "normal")

    def test_that_lead_to_each_other_are_refused(self, tmp_path):
        for here, there in ("ab", "ba"):
            fill(tmp_path, f"{here}/1.png")
            (tmp_path / here / "other").symlink_to(tmp_path / there)
        with pytest.raises(UserError, match="would never end; remove the link"):
            list_images(tmp_path / "a")

    def test_to_nowhere_are_named(self, tmp_path):
        (tmp_path / "1.png").symlink_to(tmp_path / "gone.png")
        expected = r"'.*1\.png' is a link to '.*gone\.png', which does not exist; remove it"
        with pytest.raises(UserError, match=expected):
            list_images(tmp_path)


def test_a_directory_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(UserError, match=r"directory '.*' cannot be read \(Permission denied\)"):
        list_images(tmp_path)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"directory '.*' cannot be read \(Permission denied\)"):
        subfolders(tmp_path)


def test_masks_are_counted_and_notes_are_printed():
    mask = (Path("m.png"),)
    with_mask, without = Sample(Path("3.png"), "x", mask), Sample(Path("4.png"), "x")
    expected = {
        (): "test  none: the model is trained",
        (without,): "masks none: metrics are for whole images only",
        (with_mask, without): "masks of 1 of 2 defective images; metrics of pixels leave the "
        "others out, first: 4.png",
        (with_mask, GOOD[0]): "masks of 1 of 1 defective images",
    }
    for test, line in expected.items():
        catalog = Catalog("parts", GOOD, test, notes=("a note",))
        assert f"  {line}" in catalog.describe()
        assert catalog.describe().endswith("\n  a note")
        assert catalog.has_masks == (with_mask in test)


@pytest.mark.parametrize("name", [b"parts \xe9/1.png", b"1 \xe9.png"])
def test_names_that_are_not_utf_8_are_refused(tmp_path, name):
    fill(tmp_path, os.fsdecode(name))
    with pytest.raises(UserError, match=r"is not encoded in UTF-8 \('.*\\udce9.*'\); rename it"):
        list_images(tmp_path)
