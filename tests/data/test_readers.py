from contextlib import contextmanager

import numpy as np
import pytest
import tensorflow_datasets as tfds

import data.memory
import data.textures
from data.layouts import elpv
from data.readers import read_catalogs
from data.textures import find_textures, load_textures, textures_digest
from data.tf import tf
from dtsnet_jax.errors import UserError
from tests.helpers import photograph, square
from tests.miniature import save


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
        with pytest.raises(UserError, match=r"scratch/001\.png.*no mask"):
            read("folder", own_images)

    def test_wrong_roots_are_explained(self, own_images):
        with pytest.raises(UserError, match="give its parent"):
            read("folder", own_images / "normal")
        with pytest.raises(UserError, match=r"did you mean '.*parts'"):
            read("folder", own_images.parent)
        with pytest.raises(UserError, match="no directory"):
            read("folder", own_images / "nowhere")
        with pytest.raises(UserError, match=r"data\.root is empty"):
            read("folder", "")

    def test_one_training_image_is_too_few(self, tmp_path):
        save(photograph(0), tmp_path / "normal" / "only.png")
        with pytest.raises(UserError, match=r"1 training images.*at least 2"):
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
        with pytest.raises(UserError, match="Did you mean 'mono'"):
            read_catalogs("elpv", "", "momo", held_back=0.0)

    def test_all_categories_by_default(self):
        catalogs = read_catalogs("elpv", "", "", held_back=0.0)
        assert tuple(c.category for c in catalogs) == elpv.CATEGORIES


SHADES = np.arange(7, dtype=np.uint8) * 30


def store_dtd(directory):
    """As TFDS stores DTD, with seven textures of one shade each."""
    features = tfds.features.FeaturesDict(
        {
            "file_name": tfds.features.Text(),
            "image": tfds.features.Image(encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=47),
        }
    )

    def split(some_shades):
        examples = [
            {"file_name": "x", "image": np.full((20, 30, 3), shade, np.uint8), "label": 0}
            for shade in some_shades
        ]
        return tf.data.Dataset.from_generator(
            lambda: iter(examples), output_signature=features.get_tensor_spec()
        )

    tfds.dataset_builders.store_as_tfds_dataset(
        name="dtd",
        version="3.0.1",
        features=features,
        split_datasets={
            "train": split(SHADES[:3]),
            "test": split(SHADES[3:5]),
            "validation": split(SHADES[5:]),
        },
        data_dir=directory,
    )


class TestTextures:
    def test_scikit_image_photographs_exist(self):
        assert all(path.is_file() for path in find_textures("scikit-image"))
        textures = load_textures("scikit-image", square(32), gray=True, processes=1)
        assert textures.shape == (14, 32, 32, 3)
        assert (textures[..., 0] == textures[..., 2]).all()

    def test_what_several_processes_cannot_keep_is_refused(self, monkeypatch):
        monkeypatch.setattr(data.memory, "free_memory", lambda: 330_000)
        load_textures("scikit-image", square(32), gray=False, processes=3)
        with pytest.raises(UserError, match=r"14 textures 86\.0 kB, in each of 4 processes"):
            load_textures("scikit-image", square(32), gray=False, processes=4)

    def test_a_source_is_known_by_its_files_not_by_its_place(self, tmp_path):
        for place in ("here", "there"):
            for name in ("a", "b"):
                save(photograph(ord(name)), tmp_path / place / f"{name}.png")
        here = textures_digest(str(tmp_path / "here"))
        assert textures_digest(str(tmp_path / "there")) == here
        save(photograph(0), tmp_path / "there" / "b.png")
        assert textures_digest(str(tmp_path / "there")) != here
        assert textures_digest("dtd") == "dtd"
        with pytest.raises(UserError, match="no directory"):
            textures_digest(str(tmp_path / "nowhere"))

    def test_none_is_refused_with_advice(self):
        with pytest.raises(UserError, match="Describable Textures Dataset"):
            find_textures("")

    def test_empty_directory_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="no image"):
            find_textures(str(tmp_path))

    def test_dtd_comes_from_tfds(self, tfds_data):
        store_dtd(tfds_data)
        textures = load_textures("dtd", square(16), gray=False, processes=1)
        assert textures.shape == (7, 16, 16, 3)
        assert sorted(textures[:, 8, 8, 0]) == sorted(SHADES)

    def test_dtd_is_not_prepared_again_by_who_waited(self, tfds_data, monkeypatch):
        @contextmanager
        def locked_late(path):
            store_dtd(tfds_data)
            yield

        monkeypatch.setattr(data.textures, "locked", locked_late)
        monkeypatch.setattr(data.textures.requests, "head", None)
        assert len(load_textures("dtd", square(16), gray=False, processes=1)) == 7

    def test_dtd_without_a_connection_stops_with_advice(self, tfds_data, monkeypatch):
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        with pytest.raises(UserError, match=r"DTD could not be prepared.*data\.textures=DIR"):
            load_textures("dtd", square(16), gray=False, processes=1)

    def test_directories_are_searched_to_the_bottom(self, tmp_path):
        save(photograph(0), tmp_path / "images" / "banded" / "banded_0001.jpg")
        assert len(find_textures(str(tmp_path))) == 1
