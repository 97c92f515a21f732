import csv
import json
import os
import threading
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dtsnet_jax.errors import UserError
from dtsnet_jax.prediction import log as log_module
from dtsnet_jax.prediction.log import LINES_FILE, TABLE_FILE, PredictionLog, Row, identity
from tests.data.processes import kill, process_inside

REGIONS = [
    {"box": [4, 5, 14, 25], "area": 150, "peak": 3.5},
    {"box": [0, 0, 2, 2], "area": 4, "peak": 3.0},
]
ROW = Row(
    file="/a.png",
    category="cup",
    bytes=7,
    modified=8,
    at="2025-01-02T03:04:05Z",
    score=3.5,
    p_value=0.01,
    decision="NG",
    unusual=0.5,
    clipped=False,
    drift=False,
    regions=REGIONS,
    picture="heatmaps/1.jpg",
    error=None,
)
DAMAGES = [
    *("{", "7", "\0\xe4", '{"file": "/a.png"}', "", "[" * 100_000),
    *(
        json.dumps(asdict(ROW) | changes)
        for changes in (
            {"at": "yesterday"},
            {"score": "3"},
            {"score": None},
            {"error": "no image"},
            {"decision": "good"},
            {"unusual": 0.0},
            {"clipped": 1},
            {"file": "\ud800"},
            {"regions": [{"box": [1, 2, 3], "area": 4, "peak": 3.5}]},
            {"more": 1},
        )
    ),
]
UNREADABLE = replace(ROW, score=None, p_value=None, decision=None, regions=[], error="no image")
NAMES = [b"\xc3\xa4 \xe2\x82\xac.png", b"not utf-8 \xff.png", b"a,\"b\"\r\n'c'\r.png", b" ;\t.png"]


def row_of(path, **changes):
    file, size, modified = identity(path)
    return replace(ROW, file=file, bytes=size, modified=modified, **changes)


def table(directory):
    path = directory / TABLE_FILE
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_there_again_in_order(tmp_path):
    rows = [ROW, replace(UNREADABLE, file="/b.png")]
    with PredictionLog(tmp_path / "new" / "out", "one") as log:
        assert list(log.rows) == []
        log.append(rows[:1])
        log.append([])
        log.append(rows[1:])
        assert list(log.rows) == [asdict(row) for row in rows]
    with PredictionLog(tmp_path / "new" / "out", "one") as log:
        assert list(log.rows) == [asdict(row) for row in rows]


def test_the_first_line_tells_the_detector_and_the_schema(tmp_path):
    with PredictionLog(tmp_path, "one"):
        pass
    lines = (tmp_path / LINES_FILE).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"schema": 1, "fingerprint": "one"}]


def test_the_table_tells_of_the_first_region(tmp_path):
    with PredictionLog(tmp_path, "one") as log:
        log.append([ROW, UNREADABLE])
        before = table(tmp_path)
    assert before == [
        {
            "file": "/a.png", "category": "cup", "at": "2025-01-02T03:04:05Z", "unusual": "0.5",
            "clipped": "False",
            "picture": "heatmaps/1.jpg", "score": "3.5", "p_value": "0.01",
            "decision": "NG", "drift": "False",
            "regions": "2", "left": "4", "upper": "5", "right": "14", "lower": "25",
            "area": "150", "peak": "3.5", "error": "",
        },
        {
            "file": "/a.png", "category": "cup", "at": "2025-01-02T03:04:05Z", "unusual": "0.5",
            "clipped": "False",
            "picture": "heatmaps/1.jpg", "score": "", "p_value": "",
            "decision": "", "drift": "False",
            "regions": "0", "left": "", "upper": "", "right": "", "lower": "",
            "area": "", "peak": "", "error": "no image",
        },
    ]  # fmt: skip


def test_a_table_that_is_lost_or_cut_short_is_made_anew(tmp_path):
    with PredictionLog(tmp_path, "one") as log:
        log.append([ROW, UNREADABLE])
    path = tmp_path / TABLE_FILE
    whole = path.read_bytes()
    for damage in (path.unlink, lambda: path.write_bytes(whole[:-30])):
        damage()
        with PredictionLog(tmp_path, "one"):
            assert path.read_bytes() == whole


def test_any_name_survives_in_both_files(tmp_path):
    files = [os.fsdecode(b"/" + name) for name in NAMES]
    for rows in (files[:2], files[2:]):
        with PredictionLog(tmp_path, "one") as log:
            log.append([replace(ROW, file=file) for file in rows])
    for _ in range(2):
        with PredictionLog(tmp_path, "one") as log:
            assert [row["file"] for row in log.rows] == files
            assert [row["file"] for row in table(tmp_path)] == files


class TestKnown:
    def test_is_the_same_file_with_the_same_content(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(b"12")
        os.utime(path, ns=(0, 10**18 + 1))
        with PredictionLog(tmp_path / "out", "one") as log:
            assert identity(path) not in log.last
            log.append([row_of(path)])
            assert identity(path) in log.last
        with PredictionLog(tmp_path / "out", "one") as log:
            assert identity(path) in log.last
            os.utime(path, ns=(0, 10**18 + 2))
            assert identity(path) not in log.last
            os.utime(path, ns=(0, 10**18 + 1))
            assert identity(path) in log.last
            path.write_bytes(b"123")
            os.utime(path, ns=(0, 10**18 + 1))
            assert identity(path) not in log.last

    def test_does_not_depend_on_the_current_directory(self, tmp_path, monkeypatch):
        (tmp_path / "a.png").touch()
        with PredictionLog(tmp_path / "out", "one") as log:
            log.append([row_of(tmp_path / "a.png")])
            monkeypatch.chdir(tmp_path)
            assert identity(Path("a.png")) in log.last

    def test_is_a_missing_file_whose_error_was_recorded_until_it_appears(self, tmp_path):
        path = tmp_path / "late.png"
        with PredictionLog(tmp_path / "out", "one") as log:
            assert identity(path) not in log.last
            log.append([row_of(path, error="it does not exist")])
            assert identity(path) in log.last
            path.touch()
            assert identity(path) not in log.last
            log.append([row_of(path)])
            path.rename(tmp_path / "other.png")
            assert identity(path) in log.last
            assert identity(tmp_path / "other.png") not in log.last


class TestKilled:
    def test_anywhere_in_a_line(self, tmp_path):
        with PredictionLog(tmp_path, "one") as log:
            log.append([ROW, UNREADABLE])
        path = tmp_path / LINES_FILE
        whole = path.read_bytes()
        ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
        cuts = {*range(0, len(whole), 23), *ends, *(end - 1 for end in ends)}
        for cut in cuts:
            path.write_bytes(whole[:cut])
            with PredictionLog(tmp_path, "one") as log:
                kept = max(sum(end <= cut for end in ends) - 1, 0)
                assert list(log.rows) == [asdict(row) for row in (ROW, UNREADABLE)[:kept]]
                log.append([ROW, UNREADABLE][kept:])
            assert path.read_bytes() == whole

    def test_again_and_again_each_file_has_one_row(self, tmp_path):
        images, out = [tmp_path / f"{index}.png" for index in range(400)], tmp_path / "out"
        for image in images:
            image.touch()
        for count in (50, 300):
            with process_inside(scoring, out, images, count) as process:
                kill(process)
            with PredictionLog(out, "one") as log:
                assert len(log.rows) >= count
        with PredictionLog(out, "one") as log:
            score(log, images, threading.Event(), len(images))
            assert [row["file"] for row in log.rows] == [str(image) for image in images]


@contextmanager
def scoring(out, images, count):
    """Inside, rows are being appended, and ``count`` are there."""
    reached = threading.Event()
    with PredictionLog(out, "one") as log:
        threading.Thread(target=score, args=(log, images, reached, count), daemon=True).start()
        assert reached.wait(60)
        yield


def score(log, images, reached, count):
    for start in range(0, len(images), 3):
        batch = [image for image in images[start : start + 3] if identity(image) not in log.last]
        if batch:
            log.append([row_of(image) for image in batch])
        if len(log.rows) >= count:
            reached.set()


class TestRefused:
    def test_rows_of_another_detector(self, tmp_path):
        with PredictionLog(tmp_path, "one") as log:
            log.append([ROW])
        before = (tmp_path / LINES_FILE).read_bytes()
        with (
            pytest.raises(UserError, match=r'predictions of another detector.*"one".*"two"'),
            PredictionLog(tmp_path, "two"),
        ):
            pass
        assert (tmp_path / LINES_FILE).read_bytes() == before

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_line_in_the_middle(self, tmp_path, damage):
        with PredictionLog(tmp_path, "one") as log:
            log.append([ROW, ROW])
        path = tmp_path / LINES_FILE
        header, first, second = path.read_text().splitlines()
        path.write_text("\n".join([header, first, damage, second, ""]))
        with (
            pytest.raises(UserError, match=r"line 3 of '.*predictions\.jsonl' is no prediction"),
            PredictionLog(tmp_path, "one"),
        ):
            pass

    def test_a_second_process_until_the_first_ends(self, tmp_path):
        with (
            process_inside(PredictionLog, tmp_path, "one"),
            pytest.raises(UserError, match=r"to which another process is writing"),
            PredictionLog(tmp_path, "one"),
        ):
            pass
        with PredictionLog(tmp_path, "one") as log:
            assert list(log.rows) == []

    def test_a_file_in_place_of_the_directory(self, tmp_path):
        (tmp_path / "out").touch()
        for out in (tmp_path / "out", tmp_path / "out" / "below"):
            with pytest.raises(UserError, match="where a file lies"), PredictionLog(out, "one"):
                pass

    def test_numbers_that_are_not_finite_and_nothing_is_written(self, tmp_path):
        with PredictionLog(tmp_path, "one") as log:
            with pytest.raises(ValueError, match="Out of range float"):
                log.append([ROW, replace(ROW, score=float("nan"))])
            assert list(log.rows) == [] and table(tmp_path) == []
        with PredictionLog(tmp_path, "one") as log:
            assert list(log.rows) == []


def test_of_very_many_rows_the_newest_stay_in_memory_and_all_are_known(tmp_path, monkeypatch):
    monkeypatch.setattr(log_module, "RECENT", 3)
    rows = [replace(ROW, file=f"/{number}.png") for number in range(10)]
    for opened in range(2):
        seen = []
        with PredictionLog(tmp_path, "one", see=seen.append) as log:
            assert seen == [asdict(row) for row in rows[: 5 * opened]]
            for row in rows[5 * opened : 5 * opened + 5]:
                log.append([row])
            count = 5 * (opened + 1)
            assert [row["file"] for row in log.rows] == [
                row.file for row in rows[count - 3 : count]
            ]
            assert log.count == len(log.last) == count
    assert [row["file"] for row in table(tmp_path)] == [row.file for row in rows]
