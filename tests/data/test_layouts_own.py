import pytest

from data.catalog import GOOD
from dtsnet_jax.errors import UserError
from tests.data.layouts import read, write
from tests.helpers import photograph
from tests.miniature import save


def names(samples):
    return [sample.path.name for sample in samples]


def test_some_normal_images_are_held_back_over_their_order(own_images):
    catalog = read(own_images)
    assert catalog.category == "parts"
    assert names(catalog.train) == [f"{i:03}.png" for i in (0, 1, 3, 4, 6, 7, 8, 9)]
    assert names(catalog.test)[:2] == ["002.png", "005.png"]
    assert [s.defect for s in catalog.test] == ["good"] * 2 + ["scratch"] * 3
    assert catalog.has_masks
    assert "scratch" in catalog.describe()


def test_the_end_is_held_back_if_asked_for(own_images):
    assert names(read(own_images, by="last").test)[:2] == ["008.png", "009.png"]


def test_subfolders_of_normal_are_groups(own_images):
    for index in range(10):
        for folder in ("monday/late", "tuesday"):
            save(photograph(index), own_images / "normal" / folder / f"{index}.png")
    catalog = read(own_images, by="group", held_back=0.3)
    groups = [{s.group for s in samples if s.defect == GOOD} for samples in catalog_split(catalog)]
    assert groups == [{"", "tuesday"}, {"monday/late"}]


def catalog_split(catalog):
    return catalog.train, catalog.test


def test_one_group_cannot_be_held_back(own_images):
    with pytest.raises(
        UserError, match=r"data\.held_back_by is 'group'.*one group; sort them into"
    ):
        read(own_images, by="group")


def test_without_defective_images_trains_on_all(own_images):
    for path in sorted(own_images.glob("defective/**/*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    for _ in range(2):
        catalog = read(own_images, by="group")
        assert len(catalog.train) == 10
        assert catalog.test == ()
        if (own_images / "defective").is_dir():
            (own_images / "defective").rmdir()


def test_without_masks(own_images):
    (own_images / "masks").rename(own_images / "unused")
    catalog = read(own_images)
    assert not catalog.has_masks
    assert "whole images only" in catalog.describe()


def test_other_files_are_counted_not_dropped_silently(own_images):
    for name in ("notes.txt", ".DS_Store", "000.json", "camera.json"):
        write(own_images / "normal" / name, "{}")
    catalog = read(own_images)
    assert "ignored, no image: 3 files" in catalog.describe()


def test_a_kind_called_good_is_defective_nevertheless(own_images):
    (own_images / "defective" / "scratch").rename(own_images / "defective" / "good")
    assert [s.defect for s in read(own_images).test][2:] == ["defective"] * 3


def test_one_training_image_is_too_few(tmp_path):
    save(photograph(0), tmp_path / "normal" / "only.png")
    with pytest.raises(UserError, match=r"1 training images.*at least 2"):
        read(tmp_path)
    save(photograph(1), tmp_path / "normal" / "second.png")
    save(photograph(2), tmp_path / "defective" / "bad.png")
    with pytest.raises(UserError, match=r"1 training images.*at least 2"):
        read(tmp_path)


def test_all_that_is_not_read_is_named(own_images):
    (own_images / "masks").rename(own_images / "mask")
    (own_images / "defective").rename(own_images / "Defect")
    assert read(own_images).notes == (f"not used: the folders Defect, mask in '{own_images}'",)
    (own_images / "Defect").rename(own_images / "Defective")
    (own_images / "mask").rename(own_images / "ground_truth")
    assert read(own_images).notes == (f"not used: the folders ground_truth in '{own_images}'",)
    (own_images / "ground_truth").rename(own_images / "MASKS")
    catalog = read(own_images)
    assert catalog.has_masks
    assert catalog.notes == ()
