"""What a server answers is what the detector says, and what is wrong it says in a sentence."""

import io
import mimetypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from data.files import MemoryFile
from dtsnet_jax import Detector
from dtsnet_jax.errors import UserError
from dtsnet_jax.jobs.train import train
from dtsnet_jax.prediction.limits import find_limits
from dtsnet_jax.serving import detectors as detectors_module
from dtsnet_jax.serving import guard, parts
from dtsnet_jax.serving.app import create_app
from dtsnet_jax.serving.detectors import ServedDetectors
from dtsnet_jax.serving.service import Service
from tests.helpers import photograph, small_config
from tests.miniature import save
from tests.serving.conftest import png

URL = "http://127.0.0.1"
TOKEN = "ä secret of some length"


@pytest.fixture
def client(new_app):
    with TestClient(new_app(), base_url=URL) as one:
        yield one


def test_answers_are_those_of_the_detector(client, run, sent):
    answers = client.post("/predict", files=sent(a=505, b=2000)).json()
    expected = Detector.load(run, category="left")([photograph(505), photograph(2000)])
    assert [one["file"] for one in answers] == ["a.png", "b.png"]
    for answer, prediction in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer["score"], prediction.score, rtol=1e-5)
        for name in ("p_value", "decision", "unusual", "clipped"):
            assert answer[name] == getattr(prediction, name)
        boxes = [tuple(region["box"]) for region in answer["regions"]]
        assert boxes == [region.box for region in prediction.regions]


def test_scripts_are_sent_as_scripts_whatever_the_system_takes_them_for(new_app):
    mimetypes.add_type("text/plain", ".js")  # as many a Windows says
    with TestClient(new_app(), base_url=URL) as client:
        kind = client.get("/static/page.js").headers["Content-Type"]
    assert kind.split(";")[0] == "text/javascript"


def test_many_clients_at_once_get_their_own_answers(client, run):
    """Batches are cut from what has come, and every answer goes to who asked."""
    contents = [png(photograph(number)) for number in range(24)]

    def score(number):
        form = [("files", (f"{number}.png", contents[number]))]
        return client.post("/predict", files=form).json()[0]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(score, range(24)))
    scores = Detector.load(run, category="left")([MemoryFile("", one) for one in contents])
    assert [one["file"] for one in answers] == [f"{number}.png" for number in range(24)]
    np.testing.assert_allclose(
        [one["score"] for one in answers], [one.score for one in scores], rtol=1e-4
    )


@pytest.mark.parametrize("depth", ["8 bit", "16 bit", "JPEG 2000"])
def test_uploads_are_read_like_files(client, run, tmp_path, depth):
    path = tmp_path / ("part.jp2" if depth == "JPEG 2000" else "part.png")
    image = photograph(3).convert("L")
    if depth == "16 bit":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    image.save(path)
    (answer,) = client.post("/predict", files=[("files", path.open("rb"))]).json()
    expected = Detector.load(run, category="left")(path)
    np.testing.assert_allclose(answer["score"], expected.score, rtol=1e-5)


def test_a_picture_is_the_predictions(client, run, sent):
    answer = client.post("/predict?picture=1", files=sent(a=505))
    assert answer.headers["content-type"] == "image/png"
    expected = Detector.load(run, category="left")(photograph(505)).picture()
    shown = Image.open(io.BytesIO(answer.content))
    difference = np.asarray(shown, int) - np.asarray(expected)
    assert shown.size == expected.size and np.abs(difference).max() <= 2
    assert "one" in client.post("/predict?picture=1", files=sent(a=505, b=506)).json()["error"]


BAD = {
    "nothing": b"",
    "a text": b"no picture",
    "a picture that is cut short": png(photograph(0))[:200],
    "a bomb": b"P5 50000 50000 255\n",
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_photograph_is_named(client, sent, kind):
    bad = client.post("/predict", files=sent(bad=BAD[kind]))
    assert bad.status_code == 422 and "bad.png" in bad.json()[0]["error"]
    assert bad.json()[0]["score"] is None
    mixed = client.post("/predict", files=sent(bad=BAD[kind], good=1))
    assert mixed.status_code == 200
    assert [bool(one["error"]) for one in mixed.json()] == [True, False]


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\parts\\a.png", "parts/", "x" * 500])
def test_names_are_only_names(client, name):
    answer = client.post("/predict", files=[("files", (name, png(photograph(1))))])
    shown = answer.json()[0]["file"]
    assert shown in ("passwd", "a.png", "photograph", "x" * 200)


def test_requests_that_cannot_be_are_refused_in_a_sentence(new_app, sent):
    with TestClient(new_app(None, max_upload_mb=1), base_url=URL) as client:
        missing = client.post("/predict", files=sent(a=1))
        unknown = client.post("/predict?detector=lft", files=sent(a=1))
        nothing = client.post("/predict?detector=left")
        large = client.post("/predict?detector=left", files=sent(a=bytes(2**20)))
        many = client.post("/predict?detector=left", files=sent(a=1) * 33)
        right = client.post("/predict?detector=right", files=sent(a=1)).json()[0]
        assert client.get("/health").json()["loaded"] == ["right"]
    assert "left, right" in missing.json()["error"]
    assert unknown.status_code == 404 and "'left'" in unknown.json()["error"]
    assert "files" in nothing.json()["error"] and "32" in many.json()["error"]
    assert large.status_code == 413 and "max_upload_mb" in large.json()["error"]
    assert right["detector"] == "right" and right["score"] > 0


def test_no_more_wait_than_there_is_room_for(new_app, sent, monkeypatch):
    """Some of many requests are refused with the time to come again, all others answered."""
    monkeypatch.setattr(guard, "UNDER_WAY", 2)
    with TestClient(new_app(), base_url=URL) as client, ThreadPoolExecutor(12) as threads:
        client.post("/predict", files=sent(a=1))
        form = sent(a=1)
        answers = list(threads.map(lambda _: client.post("/predict", files=form), range(36)))
        kept = client.get("/metrics").text
    refused = [one for one in answers if one.status_code == 503]
    assert refused and {one.status_code for one in answers} == {200, 503}
    assert all(int(one.headers["Retry-After"]) >= 1 for one in refused)
    assert f"dtsnet_refused_total {len(refused)}.0" in kept and "dtsnet_requests 0.0" in kept


def test_others_need_the_token(new_app, sent):
    with TestClient(new_app(token=TOKEN), base_url="http://line.example") as client:
        post = lambda **options: client.post("/predict", files=sent(a=1), **options)  # noqa: E731
        assert post().status_code == post(headers={"Authorization": "Bearer x"}).status_code == 401
        assert post(headers={"Authorization": f"Bearer {TOKEN}".encode()}).status_code == 200
        assert post(auth=("anybody", TOKEN)).status_code == 200
        for wrong in ("Basic ü", "Basic x", "Digest a", "", f"Bearer {TOKEN}x"):
            assert post(headers={"Authorization": wrong.encode()}).status_code == 401
        assert client.get("/").status_code == 401 and client.get("/health").status_code == 200
        assert client.get("/health").json()["detectors"] == []
        assert client.get("/metrics").status_code == 401


def test_pages_of_others_have_no_access(client, sent):
    other = client.post("/predict", files=sent(a=1), headers={"Sec-Fetch-Site": "cross-site"})
    rebound = client.get("/health", headers={"Host": "evil.example:8000"})
    assert rebound.status_code == 403
    rebound = client.get("/", headers={"Host": "evil.example:8000"})
    assert other.status_code == rebound.status_code == 403
    page = {"Origin": "http://evil.example"}
    assert client.post("/predict", files=sent(a=1), headers=page).status_code == 403
    own = {"Origin": "http://127.0.0.1"}
    assert client.post("/predict", files=sent(a=1), headers=own).status_code == 200
    for host in ("localhost:8000", "[::1]:8000", "[::1]"):
        assert client.get("/", headers={"Host": host}).status_code == 200


SHAPES = {
    "a region": {"data__region": "region.png"},
    "a region for each": {"data__region": "regions"},
    "tiles": {"data__tile_size": 36, "data__tile_overlap": 4},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_runs_of_every_shape_are_served(own_images, tmp_path, shape, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mask = Image.fromarray(np.full((40, 48), 255, np.uint8))
    mask.paste(0, (0, 0, 20, 40))
    save(mask, tmp_path / "region.png")
    for path in own_images.rglob("*.png"):
        if "masks" not in path.parts:
            save(mask, tmp_path / "regions" / path.relative_to(own_images))
    save(mask, tmp_path / "regions" / "003.png")  # what is sent has a name and no folder
    fields = {"detector": "knn", "knn__coreset_size": 40} | SHAPES[shape]
    train(small_config(own_images, **fields), tmp_path / "run")
    detectors = ServedDetectors(tmp_path / "run", tmp_path / "out")
    file = own_images / "normal" / "003.png"
    with TestClient(create_app(Service(detectors), tmp_path / "out"), base_url=URL) as client:
        (answer,) = client.post("/predict", files=[("files", file.open("rb"))]).json()
    expected = Detector.load(tmp_path / "run")(file)
    assert answer["error"] is None
    np.testing.assert_allclose(answer["score"], expected.score, rtol=1e-5)


def test_the_least_recently_used_detector_leaves(new_app, sent, monkeypatch):
    """And comes back, with the limits that were set while it was away."""
    monkeypatch.setattr(detectors_module, "MOST_LOADED", 1)
    with TestClient(new_app(None), base_url=URL) as client:
        for name in ("left", "right", "left"):
            client.post(f"/predict?detector={name}", files=sent(a=1))
            assert client.get("/health").json()["loaded"] == [name]
        rates = {"false_alarms": 0.2, "review": 0.0}
        client.put("/detectors/right/limits", json=rates)
        client.post("/predict?detector=left", files=sent(a=1))
        assert client.get("/detectors/right").json()["false_alarms"] == 0.2


def test_slow_requests_end(new_app, sent, monkeypatch):
    monkeypatch.setattr(guard, "SENDING_SECONDS", 0.0)
    with TestClient(new_app(), base_url=URL) as client:
        answer = client.post("/predict", files=sent(a=1))
    assert answer.status_code == 408 and "arrive" in answer.json()["error"]


def test_pictures_outlast_the_list(new_app, sent, monkeypatch):
    monkeypatch.setattr(parts, "NEWEST_BYTES", 0)
    with TestClient(new_app(), base_url=URL) as client:
        assert client.post("/predict?picture=1", files=sent(a=1)).status_code == 200
        (part,) = client.get("/parts").json()
        gone = client.get(f"/parts/{part['part']}/picture")
    assert not part["pictured"] and "no longer" in gone.json()["error"]


def test_limits_are_changed_and_kept(client, new_app, run, sent, tmp_path):
    before = client.get("/detectors/left").json()
    assert len(before["calibration_scores"]) == 20
    rates = {"false_alarms": 0.2, "review": 0.5}
    after = client.put("/detectors/left/limits", json=rates).json()
    expected = find_limits(np.array(before["calibration_scores"]), **rates)
    assert (after["review_score"], after["reject_score"]) == (
        expected.review.score,
        expected.reject.score,
    )
    choices = {choice["rate"]: choice["score"] for choice in before["choices"]}
    assert choices[0.2] == after["reject_score"] and choices[0.5] == after["review_score"]
    (answer,) = client.post("/predict", files=sent(a=2000)).json()
    assert answer["decision"] == expected.decide(answer["score"])
    with TestClient(new_app(), base_url=URL) as again:
        assert again.get("/detectors/left").json() == after
    for given, both in (
        ({"review": 0.6}, (0.2, 0.6)),  # the other one is kept
        ({"review": 0.0}, (0.2, 0.0)),
        ({"false_alarms": 0.6}, (0.6, 0.6)),
    ):
        served = ServedDetectors(run, tmp_path, category="left", **given)["left"]
        assert (served.false_alarms, served.review) == both
    with pytest.raises(UserError, match=r"review is 0\.1, .*\.false_alarms=0\.2"):
        ServedDetectors(run, tmp_path, category="left", review=0.1)
    wrong = client.put("/detectors/left/limits", json={"false_alarms": 0.2, "review": 0.1})
    assert wrong.status_code == 422 and "review" in wrong.json()["error"]


def test_the_api_is_described_without_the_internet(client):
    page = client.get("/docs").text
    assert "https://" not in page and "/openapi.json" in page
    assert "/predict" in client.get("/openapi.json").json()["paths"]
