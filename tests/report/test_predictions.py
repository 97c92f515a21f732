"""The page of what was predicted."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from dtsnet_jax import Detector
from dtsnet_jax.prediction.limits import find_limits
from dtsnet_jax.report.predictions import drift_stretches, write_predictions_page


def row(number, score=1.0, *, decision="OK", category="parts", **changes):
    """What the log has of a photograph; with ``error`` it has no score."""
    about = {"file": f"/line/{number:05}.png", "bytes": 1, "modified": 1}
    about |= {"at": f"2025-11-26T05:{number // 60 % 60:02}:{number % 60:02}+00:00"}
    found = {"score": score, "p_value": 0.25, "decision": decision, "unusual": 0.5}
    if changes.get("error"):
        found = dict.fromkeys(found)
    rest = {"drift": False, "regions": [], "picture": None, "error": None}
    return about | found | rest | {"category": category} | changes


def detector(images):
    scores = np.linspace(1, 2, images)
    return mock.Mock(
        spec=Detector,
        limits=find_limits(scores, false_alarms=0.01, review=0.05) if images else None,
        calibration=SimpleNamespace(scores=scores),
        fingerprint="0123456789abcdef" * 4,
        false_alarms=0.01,
        review=0.05,
    )


class Page(HTMLParser):
    """The text of a page, piece by piece, and its elements, all of which must be closed."""

    def __init__(self, file):
        super().__init__()
        self.source = file.read_bytes().decode("utf-8")
        self.elements, self.pieces, self._open = [], [], []
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "br", "img"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.pieces.append(" ".join(data.split()))

    @property
    def text(self):
        return " ".join(piece for piece in self.pieces if piece)

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def written(out, rows, earlier=0, **detectors):
    return Page(write_predictions_page(out, rows, detectors, earlier=earlier))


def test_outcomes_are_counted_in_all_and_by_category(tmp_path):
    rows = [row(i) for i in range(7)] + [row(7, decision="review"), row(8, decision="NG")]
    rows += [row(9, error="broken")]
    page = written(tmp_path, rows, parts=detector(100))
    assert "7 OK 70.0 % 1 review 10.0 % 1 NG 10.0 % 1 could not be scored 10.0 %" in page.text
    assert "NG above 2: 1 % false alarms" in page.text and "without a decision" not in page.text

    rows += [row(10, category="lids", decision=None), row(11, category="", error="no category")]
    page = written(tmp_path, rows, parts=detector(100), lids=detector(0))
    assert "2 could not be scored" in page.text and "1 without a decision" in page.text
    assert "parts 7 1 1 0 1 unknown 0 0 0 0 1" in page.text
    assert "lids no limit: 0 calibration images are too few" in page.text


def test_the_newest_of_very_many_photographs_are_called_so(tmp_path):
    rows = [row(i) for i in range(3)]
    assert "The newest" not in written(tmp_path, rows, parts=detector(100)).text
    page = written(tmp_path, rows, earlier=20_000, parts=detector(100))
    assert "The newest 3 photographs" in page.text
    assert "20,000 were scored before these" in page.text
    drifted = [row(i, drift=True) for i in range(3)]
    assert "from before '" in written(tmp_path, drifted, earlier=1, parts=detector(100)).text
    assert "from before '" not in written(tmp_path, drifted, parts=detector(100)).text


def test_the_most_anomalous_photographs_come_first_with_their_pictures(tmp_path):
    (tmp_path / "heatmaps").mkdir()
    scores = np.random.default_rng(0).permutation(40).tolist()
    rows = [row(score, score, picture=f"heatmaps/{score:06}_a b.jpg") for score in scores]
    for score in range(18, 40):
        Image.new("RGB", (2000, 1000)).save(tmp_path / f"heatmaps/{score:06}_a b.jpg")
    (tmp_path / "heatmaps/000038_a b.jpg").write_bytes(b"no picture")
    page = written(tmp_path, rows, parts=detector(100))
    assert re.findall(r"(\d{5})\.png score", page.text) == [f"{n:05}" for n in range(39, 15, -1)]
    shown = [image for image in page.named("img") if image["src"].startswith("data:image/jpeg")]
    assert [image["alt"] for image in shown] == [
        f"heat map of {number:05}.png" for number in (39, *range(37, 17, -1))
    ]
    links = [link["href"] for link in page.named("a")]
    assert links[:2] == ["predictions.csv", "heatmaps/000039_a%20b.jpg"]
    assert all(address.startswith("data:") for address in _loaded(page))


def _loaded(page):
    """Addresses that a browser fetches by itself."""
    fetched = [a.get("src") or a.get("xlink:href", "") for _, a in page.elements]
    return [address for address in fetched if address and not address.startswith("#")]


def test_pictures_are_of_each_category(tmp_path):
    rows = [row(i, i, category=name) for i in range(30) for name in ("lids", "parts")]
    page = written(tmp_path, rows)
    assert page.text.count("lids: the most anomalous") == 1
    assert re.findall(r"(\d{5})\.png score", page.text) == 2 * [
        f"{n:05}" for n in range(29, 17, -1)
    ]


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>.png", "a&amp;\"'>b.png", "\udc80.png", "\u202egnp.exe"]
)
def test_names_may_contain_anything(tmp_path, name):
    rows = [row(0, file=f"/line/{name}", drift=True, picture=f"heatmaps/{name}"), row(1)]
    rows += [row(2, file=f"/line/{name}", category=name, error=f"'{name}' is broken")]
    page = written(tmp_path, rows, parts=detector(100), **{name: detector(3)})
    assert page.named("script") == []
    shown = name.replace("\udc80", "�").replace("\u202e", "�")
    assert page.pieces.count(shown) >= 2  # as a photograph and as a category
    assert f"'{shown}' is broken" in page.pieces
    assert any(piece.startswith("The photographs no longer looked like") for piece in page.pieces)


@pytest.mark.parametrize(
    ("flags", "stretches"),
    [
        ("", []),
        ("0000", []),
        ("1", [(0, 0)]),
        ("0110100", [(1, 2), (4, 4)]),
        ("1011", [(0, 0), (2, 3)]),
    ],
)
def test_drift_lies_in_stretches(flags, stretches):
    assert drift_stretches([{"drift": flag == "1"} for flag in flags]) == stretches


def test_drift_is_told_from_which_photograph_to_which(tmp_path):
    rows = [row(i, drift=3 <= i <= 5) for i in range(9)]
    rows[4] |= row(4, error="broken")  # says nothing of drift
    rows += [row(20, category="lids")]
    page = written(tmp_path, rows)
    assert page.text.count("no longer looked") == 1
    assert "'00003.png' (2025-11-26 05:00 UTC) to '00005.png'" in page.text
    assert "2 photographs; light" in page.text
    rows = [row(i, drift=i % 2 == 0) for i in range(20)]
    assert "So they did 5 times more." in written(tmp_path, rows).text
    assert "drift" not in written(tmp_path, [row(i) for i in range(9)]).text


def test_of_many_errors_the_first_are_shown(tmp_path):
    rows = [row(i, error=f"sentence {i}.") for i in range(130)]
    page = written(tmp_path, rows)
    assert re.findall(r"sentence (\d+)\.", page.text) == [str(i) for i in range(100)]
    assert "The first 100 of 130." in page.text
    assert "The first" not in written(tmp_path, rows[:100]).text


def test_both_limits_and_the_calibration_images_are_drawn(tmp_path):
    rows = [row(i, 1 + i / 50) for i in range(50)]
    page = written(tmp_path, rows, parts=detector(100))
    for label in ("review above 1.96", "NG above 2"):
        assert page.pieces.count(label) == 2  # a line in either plot
    assert "good, for calibration (100)" in page.pieces and "these photographs (50)" in page.pieces
    without = written(tmp_path, rows)
    assert "good, for calibration (100)" not in without.pieces
    assert "its limits are shown when there are new photographs" in without.pieces


def test_a_page_of_no_photographs_says_so(tmp_path):
    page = written(tmp_path, [])
    assert "No photographs." in page.text and "The most anomalous" not in page.text


def test_the_page_does_not_grow_with_the_photographs(tmp_path):
    def size(count):
        generator = np.random.default_rng(0)
        rows = [row(i, score) for i, score in enumerate(generator.normal(5, 1, count).tolist())]
        return len(written(tmp_path, rows).source)

    assert size(10_000) < size(500) + 300_000
