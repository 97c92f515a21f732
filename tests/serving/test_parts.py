"""The newest parts, what another process predicts, and decisions that were wrong."""

import csv
import io
import json
import os
from dataclasses import asdict

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from data.files import MemoryFile
from data.layouts import table
from dtsnet_jax.errors import UserError
from dtsnet_jax.prediction.detectors import Detectors
from dtsnet_jax.prediction.history import History
from dtsnet_jax.prediction.line import Line, PredictionOptions
from dtsnet_jax.prediction.log import LINES_FILE, PredictionLog, Row
from dtsnet_jax.serving import parts
from dtsnet_jax.serving.corrections import Corrections
from dtsnet_jax.serving.following import Follower
from dtsnet_jax.serving.parts import Part, Parts
from tests.helpers import photograph
from tests.miniature import save

URL = "http://127.0.0.1"
ANSWER = {"error": None, "decision": "OK", "score": 1.0, "detector": "left"}


def test_only_the_newest_are_kept(monkeypatch):
    monkeypatch.setattr(parts, "NEWEST", 3)
    monkeypatch.setattr(parts, "NEWEST_BYTES", 2500)
    kept = Parts()
    numbers = [
        kept.add(dict(ANSWER), MemoryFile("a.png", bytes(1000)), None).number for _ in range(5)
    ]
    assert [part.number for part in kept.newest()] == numbers[:1:-1]
    assert [part.file is None for part in kept.newest()] == [False, False, True]
    assert [part.number for part in kept.newest(after=numbers[3])] == numbers[4:]
    assert kept.find(numbers[0]) is None
    assert Parts().add(dict(ANSWER), MemoryFile("a.png", b""), None).number > numbers[4]


def test_corrections_are_a_table_to_train_with(new_app, sent, tmp_path):
    with TestClient(new_app(), base_url=URL) as client:
        numbers = [one["part"] for one in client.post("/predict", files=sent(a=1, b=2)).json()]
        for number, label in zip(numbers, ("good", "defective"), strict=True):
            shown = client.put(f"/parts/{number}/label", json={"label": label}).json()
            assert shown["label"] == label
        client.put(f"/parts/{numbers[0]}/label", json={"label": "defective"})
        client.put(f"/parts/{numbers[1]}/label", json={"label": ""})
        assert client.put("/parts/99/label", json={"label": "good"}).status_code == 404
        assert client.put(f"/parts/{numbers[0]}/label", json={"label": "x"}).status_code == 422
    file = tmp_path / "corrections.csv"
    (row,) = csv.DictReader(file.open(newline=""))
    assert (row["label"], row["category"]) == ("defective", "left")
    assert (tmp_path / row["image"]).read_bytes() == sent(a=1)[0][1][1]
    with file.open("a") as added:
        for index in range(2):
            name = save(photograph(index), tmp_path / f"good{index}.png").name
            added.write(f"{name},good,left,,,\n")
    catalog = table.read(file, "left", held_back=0.0, held_back_by="spread")
    assert [sample.path for sample in catalog.test] == [tmp_path / row["image"]]


def test_what_could_not_be_scored_is_not_learned_from(new_app, tmp_path):
    with TestClient(new_app(), base_url=URL) as client:
        (broken,) = client.post("/predict", files=[("files", ("x.png", b"none"))]).json()
        refused = client.put(f"/parts/{broken['part']}/label", json={"label": "good"})
    assert refused.status_code == 422 and "'x.png' could not be scored" in refused.json()["error"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sorted_as", "kept"),
    [
        ({"a-1.bmp": b"other", "a-1-2.bmp": b"right", "a.bmp": b"other"}, "several lie in"),
        ({"a-1-2.bmp": b"right", "a-12.bmp": b"other", "a.bmp": b"other"}, b"right"),
        ({"a-1.bmp": b"right", "a-1-2.bmp": b"right"}, b"right"),  # the same, sent twice
        ({"a-12.bmp": b"other"}, "no longer kept"),
    ],
)
def test_of_sorted_photographs_the_one_of_that_name_is_corrected(tmp_path, sorted_as, kept):
    for name, content in sorted_as.items():  # of the same size and time, as cameras make them
        file = tmp_path / "NG" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        os.utime(file, ns=(10**9, 10**9))
    answer = ANSWER | {"file": "a-1.bmp", "bytes": 5, "modified": 10**9}
    part = Part(0, answer, tmp_path / "a-1.bmp", None, sorted_into=tmp_path / "NG")
    corrections, photographs = Corrections(tmp_path / "out"), tmp_path / "out" / "corrections"
    if isinstance(kept, str):
        with pytest.raises(UserError, match=kept):
            corrections.mark(part, "good")
    else:
        corrections.mark(part, "good")
        assert [file.read_bytes() for file in photographs.iterdir()] == [kept]


def test_a_photograph_is_corrected_for_each_detector(new_app, sent, tmp_path):
    with TestClient(new_app(None), base_url=URL) as client:
        for name, label in (("left", "good"), ("right", "defective")):
            (answer,) = client.post(f"/predict?detector={name}", files=sent(a=1)).json()
            client.put(f"/parts/{answer['part']}/label", json={"label": label})
    rows = list(csv.DictReader((tmp_path / "corrections.csv").open(newline="")))
    labels = [(row["category"], row["label"]) for row in rows]
    assert labels == [("left", "good"), ("right", "defective")]
    assert rows[0]["image"] == rows[1]["image"]


@pytest.mark.parametrize(
    "content", [b"my,own\n1,2\n", b"\xff\xfe", "image,label,category,score,decision,at\n1,2\n"]
)
def test_a_damaged_table_of_corrections_is_not_lost(new_app, sent, tmp_path, content):
    content = content.encode() if isinstance(content, str) else content
    (tmp_path / "corrections.csv").write_bytes(content)
    with TestClient(new_app(), base_url=URL) as client:
        (answer,) = client.post("/predict", files=sent(a=1)).json()
        refused = client.put(f"/parts/{answer['part']}/label", json={"label": "good"})
    assert refused.status_code == 422 and "corrections.csv" in refused.json()["error"]
    assert (tmp_path / "corrections.csv").read_bytes() == content


@pytest.mark.parametrize("sort", ["", "move"])
def test_the_page_shows_what_another_process_predicts(new_app, run, tmp_path, sort):
    """Photographs that it has moved are found for corrections, and such as are gone are not."""
    photographs = [save(photograph(n), tmp_path / "line" / f"{n}.png") for n in (3, 2000)]
    out = tmp_path / "predictions"
    detectors = Detectors(run, category="left")
    with PredictionLog(out, detectors.fingerprint) as log:
        options = PredictionOptions("", out, sort=sort)
        with Line(detectors, log, options, History(detectors)) as line:
            line.score(photographs)
        rows = list(log.rows)
    app = new_app(follow=out)
    with TestClient(app, base_url=URL) as client:
        shown = []
        while len(shown) < 2:
            shown = client.get("/parts").json()
        for part, row in zip(reversed(shown), rows, strict=True):
            assert part["file"] == row["file"] and part["score"] == row["score"]
            picture = Image.open(io.BytesIO(client.get(f"/parts/{part['part']}/picture").content))
            assert picture.size == (48 * 2 + 9, 40 + 6)
        content = next(tmp_path.rglob("2000.png")).read_bytes()
        assert photographs[1].exists() == (not sort)
        corrected = client.put(f"/parts/{shown[0]['part']}/label", json={"label": "good"})
        assert corrected.json()["label"] == "good"
        next(tmp_path.rglob("3.png")).unlink()
        gone = client.put(f"/parts/{shown[1]['part']}/label", json={"label": "good"})
        assert gone.status_code == 422 and "3.png" in gone.json()["error"]
    (row,) = csv.DictReader((tmp_path / "corrections.csv").open(newline=""))
    assert (tmp_path / row["image"]).read_bytes() == content


def line_of(number, picture=None):
    row = Row(f"/parts/{number}.png", "left", 1, 1, "2026-01-01T00:00:00+00:00", 1.0, None, None,
              None, False, False, [], picture, None)  # fmt: skip
    return json.dumps(asdict(row)) + "\n"


def test_following_takes_whole_rows_once(tmp_path):
    """Also where the log is made later, is cut off in a row, begins anew, or leads elsewhere."""
    kept, file = Parts(), tmp_path / LINES_FILE
    follower = Follower(tmp_path, kept)
    follower.look()
    file.write_text('{"schema": 1, "fingerprint": ""}\n' + line_of(1) + line_of(2)[:30])
    follower.look()
    with file.open("a") as log:
        log.write(line_of(2)[30:] + line_of(3, "../secret.jpg"))
        log.write("[" * 100_000 + "\n[]\n{}\n" + line_of(4, "a\0b.jpg").replace("4.png", "\\udcff"))
    follower.look()
    follower.look()
    names = [part.answer["file"] for part in kept.newest()]
    assert names == ["/parts/3.png", "/parts/2.png", "/parts/1.png"]
    assert kept.newest()[0].picture is None
    file.write_text('{"schema": 1, "fingerprint": ""}\n' + line_of("\udcff"))
    follower.look()
    assert kept.newest()[0].answer["file"] == "/parts/?.png"


def test_of_a_long_log_the_end_is_taken(tmp_path):
    with (tmp_path / LINES_FILE).open("w") as file:
        file.writelines(map(line_of, range(8000)))
    kept = Parts()
    Follower(tmp_path, kept).look()
    names = [part.answer["file"] for part in kept.newest()]
    assert names == [f"/parts/{n}.png" for n in range(7999, 7799, -1)]


@pytest.mark.parametrize(
    "damage",
    ["[]", "no JSON", '{"false_alarms": 1}', '{"left": {"false_alarms": 0.0, "review": 0.1}}'],
)
def test_damaged_limits_are_named(new_app, tmp_path, damage):
    (tmp_path / "limits.json").write_text(damage)
    with pytest.raises(ValueError, match=r"limits\.json"):
        new_app()
