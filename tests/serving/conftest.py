"""A trained run that servers share."""

import io

import pytest

from dtsnet_jax.jobs.train import train
from dtsnet_jax.serving.app import create_app
from dtsnet_jax.serving.detectors import ServedDetectors
from dtsnet_jax.serving.service import Service
from tests.helpers import photograph, small_config
from tests.miniature import save


@pytest.fixture(scope="package")
def run(tmp_path_factory):
    """Two categories with 20 calibration images each."""
    root = tmp_path_factory.mktemp("served")
    for category, first in (("left", 0), ("right", 1000)):
        for index in range(first, first + 40):
            save(photograph(index), root / "parts" / category / "normal" / f"{index:03}.png")
    config = small_config(
        root / "parts", detector="knn", knn__coreset_size=40, data__calibration=0.5
    )
    train(config, root / "run")
    return root / "run"


@pytest.fixture
def new_app(run, tmp_path):
    """Makes an application; what it writes goes to ``tmp_path``."""

    def make(category="left", **options):
        detectors = ServedDetectors(run, tmp_path, category=category)
        return create_app(Service(detectors), tmp_path, **options)

    return make


@pytest.fixture
def sent():
    """The form of photographs by name: a number stands for a picture, bytes for themselves."""

    def form(**contents):
        return [
            ("files", (f"{name}.png", one if isinstance(one, bytes) else png(photograph(one))))
            for name, one in contents.items()
        ]

    return form


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()
