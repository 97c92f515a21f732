"""What earlier photographs leave behind."""

from unittest import mock

import pytest

from dtsnet_jax.prediction.detectors import Detectors
from dtsnet_jax.prediction.history import History
from tests.prediction.test_log import ROW, UNREADABLE


@pytest.fixture
def detectors():
    """Of one category with 99 calibration images."""
    return mock.Mock(spec=Detectors, **{"of.return_value.calibration.scores": [0.0] * 99})


def test_pictures_are_numbered_on(detectors):
    history = History(detectors)
    assert history.next_picture("a") == "heatmaps/000001_a.jpg"
    for picture in ("heatmaps/000041_x.jpg", "heatmaps/000007_y.jpg", "heatmaps/z.jpg", None):
        history.see_again(vars(ROW) | {"picture": picture})
    assert history.next_picture("b") == "heatmaps/000042_b.jpg"


def test_drift_goes_on_from_what_was_written_down(detectors, capsys):
    odd = vars(ROW) | {"unusual": 0.01}
    rows = [odd, vars(UNREADABLE) | {"unusual": None}] * 4
    at_once, continued = History(detectors), History(detectors)
    told = [at_once.watch("cup").see(0.01, row["file"], row["at"]) for row in rows[::2] * 3]
    assert not told[0] and told[-1]
    first = told.index(True)
    assert "no longer look like" in capsys.readouterr().out
    for row in rows[:2] * first:
        continued.see_again(row)
    assert continued.watch("cup").see(0.01, "/new.png", ROW.at)
