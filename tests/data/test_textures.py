from contextlib import contextmanager

import numpy as np
import pytest
import tensorflow_datasets as tfds

import data.memory
import data.textures
from data.textures import find_textures, load_textures, textures_digest
from data.tf import tf
from dtsnet_jax.errors import UserError
from tests.helpers import photograph, square
from tests.miniature import save

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


def test_scikit_image_photographs_exist():
    assert all(path.is_file() for path in find_textures("scikit-image"))
    textures = load_textures("scikit-image", square(32), gray=True, processes=1)
    assert textures.shape == (14, 32, 32, 3)
    assert (textures[..., 0] == textures[..., 2]).all()


def test_what_several_processes_cannot_keep_is_refused(monkeypatch):
    monkeypatch.setattr(data.memory, "free_memory", lambda: 330_000)
    load_textures("scikit-image", square(32), gray=False, processes=3)
    with pytest.raises(UserError, match=r"14 textures 86\.0 kB, in each of 4 processes"):
        load_textures("scikit-image", square(32), gray=False, processes=4)


def test_a_source_is_known_by_its_files_not_by_its_place(tmp_path):
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


def test_none_is_refused_with_advice():
    with pytest.raises(UserError, match="Describable Textures Dataset"):
        find_textures("")


def test_empty_directory_is_refused(tmp_path):
    with pytest.raises(UserError, match="no image"):
        find_textures(str(tmp_path))


def test_dtd_comes_from_tfds(tfds_data):
    store_dtd(tfds_data)
    textures = load_textures("dtd", square(16), gray=False, processes=1)
    assert textures.shape == (7, 16, 16, 3)
    assert sorted(textures[:, 8, 8, 0]) == sorted(SHADES)


def test_dtd_is_not_prepared_again_by_who_waited(tfds_data, monkeypatch):
    @contextmanager
    def locked_late(path):
        store_dtd(tfds_data)
        yield

    monkeypatch.setattr(data.textures, "locked", locked_late)
    monkeypatch.setattr(data.textures.requests, "head", None)
    assert len(load_textures("dtd", square(16), gray=False, processes=1)) == 7


def test_dtd_without_a_connection_stops_with_advice(tfds_data, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"DTD could not be prepared.*data\.textures=DIR"):
        load_textures("dtd", square(16), gray=False, processes=1)


def test_directories_are_searched_to_the_bottom(tmp_path):
    save(photograph(0), tmp_path / "images" / "banded" / "banded_0001.jpg")
    assert len(find_textures(str(tmp_path))) == 1
