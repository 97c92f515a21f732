"""Configurations: every one is valid, values that cannot work are refused."""

import json
import subprocess
import sys

import pytest

from configs import btad, demo, folder, mvtec, variants, visa
from data.layouts.btad import CATEGORIES as BTAD
from data.layouts.mvtec_ad import CATEGORIES as MVTEC
from data.layouts.visa import CATEGORIES as VISA
from dtsnet_jax.checks import check_augmentation, check_config, check_devices
from dtsnet_jax.config import parse_shard, read_config, rows_of
from dtsnet_jax.errors import UserError
from dtsnet_jax.fingerprint import settings_digest
from tests.helpers import MVTEC_TRAIN_IMAGES, ROOT


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("data.image_size", 250, "set it to 224 or 256"),
        ("precision", "float16", "bfloat16"),
        ("scoring.levels", (1, 4), "(1, 2, 3)"),
        ("synthesis.opacity", (0.5, 1.5), "[0, 1]"),
        ("student.temperature", 0.0, "more than 0"),
        ("train.checkpoint_minutes", -1.0, "0 or more"),
        ("train.augment", ("flip",), "'flips', 'quarter_turns', 'rotations', 'brightness'"),
        ("train.augment", ("flips", "flips"), "each once"),
        ("data.held_back", 1.0, "0 to below 1"),
        ("train.average_over", -0.1, "0 to below 1"),
        ("scoring.top_share", 1.0, "0 to below 1"),
        ("train.visits", -1, "0 or more"),
        ("data.held_back_by", "lst", "Did you mean 'last'"),
        ("scoring.levels", ([1],), "(1, 2, 3)"),
        ("scoring.smoothing", float("inf"), "1000.0 or less"),
        ("synthesis.masks", (["union"],), "intersection"),
        ("synthesis.opacity", ("0", "1"), "[0, 1]"),
        ("seeds", (True,), "whole numbers"),
    ],
)
def test_values_that_cannot_work_are_refused(field, value, expected):
    config = demo.get_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError) as error:
        check_config(config)
    assert field in str(error.value)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("size", "devices", "expected"), [(15, 1, "14 or 16"), (20, 8, "16 or 32"), (2, 8, "to 16")]
)
def test_a_batch_that_the_devices_cannot_share_is_refused(size, devices, expected):
    config = folder.get_config()
    config.train.batch_size = size
    check_config(config)
    with pytest.raises(UserError, match=expected):
        check_devices(config, devices)


@pytest.mark.parametrize("shard", ["4/4", "1", "a/b", "-1/2", "1/0"])
def test_a_share_that_cannot_be_is_refused(shard):
    with pytest.raises(UserError, match=r"data\.shard"):
        parse_shard(shard)


def test_rows_that_name_no_variant_are_refused():
    config = folder.get_config("paper")
    for rows in (([1],), ("knn", "knn"), ({},)):
        config.rows = rows
        with pytest.raises(UserError, match="row"):
            rows_of(config)


STORED = {
    "null": ("seeds", None, "a field that is null"),
    "a number in place of several": ("seeds", 3, "'seeds'"),
    "a text": ("precision", 5, "'precision'"),
    "no section": ("train", 3, "has the field train;"),
    "a section in place of a value": ("name", {"x": 1}, "lacks the field name;"),
    "epochs of text": ("epochs_by_category", {"a": "b"}, "expected a whole number"),
    "a number without end": ("scoring", {"smoothing": 10**400}, "too large"),
}


@pytest.mark.parametrize("mistake", STORED)
def test_settings_of_other_types_are_refused(mistake):
    field, value, message = STORED[mistake]
    settings = json.loads(folder.get_config().to_json())
    assert json.loads(read_config(settings, "config.json").to_json()) == settings
    settings[field] = settings[field] | value if field == "scoring" else value
    with pytest.raises(UserError, match=rf"'config\.json' .*{message}"):
        read_config(settings, "config.json")


def test_augmentation_where_nothing_is_trained_is_refused():
    config = folder.get_config("knn")
    check_config(config)
    config.train.augment = ("flips",)
    with pytest.raises(UserError, match=r"detector is 'knn'.*--config\.train\.augment=\(\)"):
        check_config(config)


def test_augmentation_is_for_the_rows_that_train():
    config = folder.get_config("components")
    config.train.augment = ("flips",)
    check_config(config)
    for name, row in rows_of(config).items():
        check_config(row)
        assert tuple(row.train.augment) == (() if name == "knn" else ("flips",))


def test_quarter_turns_need_square_images():
    config = folder.get_config()
    config.train.augment = ("flips", "quarter_turns")
    check_augmentation(config)
    with config.ignore_type():
        config.data.image_size = (64, 64)
    check_augmentation(config)
    config.data.image_size = (64, 96)
    with pytest.raises(UserError, match=r"'quarter_turns'.*data\.image_size is \(64, 96\)"):
        check_augmentation(config)
    config.train.augment = ("flips", "rotations")
    check_augmentation(config)


def test_weights_depend_on_augmentation():
    config = folder.get_config()
    before = settings_digest(config)
    config.train.augment = ("flips",)
    assert settings_digest(config) != before


def test_every_configuration_and_variant_is_valid():
    for module in (btad, mvtec, visa, folder, demo):
        for variant in variants.VARIANTS:
            check_config(module.get_config(variant))
        for table in variants.TABLES:
            rows = rows_of(module.get_config(table))
            assert tuple(rows) == variants.TABLES[table]
            for row in rows.values():
                check_config(row)
    for module, categories in ((btad, BTAD), (mvtec, MVTEC), (visa, VISA)):
        assert set(module.get_config().epochs_by_category) == set(categories)
    assert sum(mvtec.EPOCHS[name] * MVTEC_TRAIN_IMAGES[name] for name in MVTEC) == 780_060


def test_configurations_import_nothing_of_the_package():
    code = (
        "import sys; from configs import btad, demo, folder, mvtec, variants, visa;"
        "print([name for name in sys.modules if name.startswith(('dtsnet_jax', 'data'))])"
    )
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [name for name in eval(out) if name.split(".")[0] in ("dtsnet_jax", "data")] == []
