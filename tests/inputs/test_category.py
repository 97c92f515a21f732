"""The images of a category, kept for whoever wants the same."""

import numpy as np
import pytest
from PIL import Image

from dtsnet_jax.config import rows_of
from dtsnet_jax.errors import UserError
from dtsnet_jax.inputs.catalogs import chosen_catalogs
from dtsnet_jax.inputs.store import Images
from dtsnet_jax.jobs.train import train
from tests.helpers import seed_run, small_config
from tests.miniature import save


@pytest.mark.usefixtures("tfds_data")
def test_a_row_without_synthesis_does_not_take_the_foregrounds_of_others(miniatures):
    config = small_config(
        miniatures / "mvtec_ad" / "bottle", data__foreground="threshold", rows=("rd", "paper")
    )
    (catalog,) = chosen_catalogs(config)
    store = Images()
    found = {n: store.of(c, catalog).training.foreground for n, c in rows_of(config).items()}
    assert found["rd"] is None
    assert 0 < found["paper"].mean() < 1


def mask(path, *, marked):
    values = np.zeros((40, 48), np.uint8)
    values[:, :marked] = 1
    return save(Image.fromarray(values), path)


def test_a_region_that_marks_nothing_is_refused(own_images, tmp_path):
    config = small_config(own_images, data__region=str(mask(tmp_path / "r.png", marked=0)))
    with pytest.raises(UserError, match=r"r\.png' leaves nothing of the image '.*00.\.png'"):
        train(config, tmp_path / "run")
    assert not list((tmp_path / "run").glob("parts/*"))


def test_nothing_is_drawn_outside_the_region(own_images, tmp_path):
    config = small_config(own_images, data__region=str(mask(tmp_path / "r.png", marked=24)))
    (catalog,) = chosen_catalogs(config)
    images = Images().of(config, catalog)
    assert images.training.foreground[:, :, :16].all()
    assert not images.training.foreground[:, :, 16:].any()
    for batch in images.batches(seed=1, batch_size=8, accumulate=1, first_step=0, last_step=20):
        assert not batch["mask"][..., 16:].any()
        normal = batch["normal"][0, 1::2]
        np.testing.assert_array_equal(batch["synthetic"][0, :, :, 16:], normal[:, :, 16:])


@pytest.mark.parametrize("tile_size", [0, 24])
def test_a_broken_test_image_is_found_before_the_training(own_images, tmp_path, tile_size):
    path = own_images / "defective" / "scratch" / "001.png"
    path.write_bytes(path.read_bytes()[:1500])
    config = small_config(own_images, data__tile_size=tile_size)
    with pytest.raises(UserError, match=r"scratch/001\.png' cannot be decoded"):
        train(config, tmp_path / "run")
    assert seed_run(tmp_path / "run").trained_step is None


@pytest.mark.parametrize("detector", ["student", "knn"])
def test_another_region_is_another_training(own_images, tmp_path, detector):
    first, second = (mask(tmp_path / f"{n}.png", marked=n) for n in (24, 30))
    fields = {"train__epochs": 1, "detector": detector, "knn__coreset_size": 20}
    config = small_config(own_images, data__region=str(first), **fields)
    train(config, tmp_path / "run")
    config.data.region = str(second)
    with pytest.raises(UserError, match="trained with other regions of interest than there are"):
        train(config, tmp_path / "run")
