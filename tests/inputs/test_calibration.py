"""Images for calibration are neither learned from nor tested on."""

import pytest

from dtsnet_jax.errors import UserError
from dtsnet_jax.inputs.catalogs import chosen_catalogs
from tests.helpers import photograph, small_config
from tests.miniature import save


@pytest.fixture
def twenty(tmp_path):
    for index in range(20):
        save(photograph(index), tmp_path / "parts" / "normal" / f"{index:02}.png")
    save(photograph(100), tmp_path / "parts" / "defective" / "bad.png")
    return tmp_path / "parts"


def names(samples):
    return [sample.path.stem for sample in samples]


def test_a_share_of_the_training_images_is_kept_spread_over_them(twenty):
    config = small_config(twenty, data__calibration=0.625, data__held_back=0.2)
    (catalog,) = chosen_catalogs(config)
    train, kept, test = map(names, (catalog.train, catalog.calibration, catalog.test))
    assert (len(train), len(kept), len(test)) == (6, 10, 5)
    assert sorted(train + kept + test) == [*(f"{index:02}" for index in range(20)), "bad"]
    assert kept[0] < "04" and kept[-1] > "15"
    assert "calibration good" in catalog.describe()
    config.data.calibration = 0.0
    (whole,) = chosen_catalogs(config)
    assert whole.calibration == () and whole.notes == () and names(whole.test) == test


def test_as_many_are_kept_as_limits_need_or_none(twenty):
    config = small_config(twenty, data__calibration=0.1, data__held_back=0.0)
    (catalog,) = chosen_catalogs(config)
    assert len(catalog.train) == 20 and catalog.calibration == ()
    assert "fewer than the 10 that limits need" in catalog.notes[0]
    for index in range(20, 50):
        save(photograph(index), twenty / "normal" / f"{index}.png")
    (catalog,) = chosen_catalogs(config)
    assert (len(catalog.train), len(catalog.calibration), catalog.notes) == (40, 10, ())


def test_groups_stay_together_while_there_are_several(twenty):
    for path in sorted((twenty / "normal").iterdir()):
        group = twenty / "normal" / ("abcd"[int(path.stem) % 4] if path.stem < "16" else "d")
        group.mkdir(exist_ok=True)
        path.rename(group / path.name)
    fields = {"data__calibration": 0.5, "data__held_back": 0.0, "data__held_back_by": "group"}
    (catalog,) = chosen_catalogs(small_config(twenty, **fields))
    learned, kept = ({s.group for s in some} for some in (catalog.train, catalog.calibration))
    assert kept and learned and not kept & learned


def test_too_large_a_share_is_refused(twenty):
    with pytest.raises(UserError, match=r"data\.calibration=0\.95 leaves 1 training images"):
        chosen_catalogs(small_config(twenty, data__calibration=0.95, data__held_back=0.0))


def test_a_copy_of_a_training_image_among_them_is_called_a_leak(twenty):
    config = small_config(twenty, data__calibration=0.5, data__held_back=0.0)
    (catalog,) = chosen_catalogs(config)
    kept, learned = catalog.calibration[0].path, catalog.train[0].path
    kept.write_bytes(learned.read_bytes())
    (catalog,) = chosen_catalogs(config)
    (note,) = catalog.notes
    assert "LEAK: 1 calibration images" in note and str(kept) in note
