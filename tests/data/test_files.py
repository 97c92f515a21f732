import hashlib
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import data.files
from data.files import (
    discard,
    file_digest,
    files_digest,
    locked,
    partial_path,
    remove,
    remove_abandoned,
    remove_partials,
    write_text,
)
from dtsnet_jax.errors import UserError
from tests.data.processes import at_once, kill, process_inside

WRITES = 200


def names(directory):
    return sorted(path.name for path in directory.iterdir())


class TestPartialPath:
    def test_a_file_appears_when_it_is_whole(self, tmp_path):
        path = tmp_path / "new" / "a.json"
        with partial_path(path) as partial:
            partial.write_text("half")
            assert partial.parent == path.parent
            assert not path.exists()
            partial.write_text("whole")
        assert path.read_text() == "whole"
        assert names(path.parent) == ["a.json"]

    @pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
    def test_an_exception_leaves_what_was_there_before(self, tmp_path, error):
        path = tmp_path / "a.json"
        for before in ([], ["a.json"]):
            with pytest.raises(error), partial_path(path) as partial:
                partial.write_text("half")
                raise error
            assert names(tmp_path) == before
            write_text(path, "before")
        assert path.read_text() == "before"

    def test_a_directory_appears_when_it_is_whole(self, tmp_path):
        path = tmp_path / "tree"
        with pytest.raises(OSError), partial_path(path, directory=True) as partial:
            (partial / "file").write_text("half")
            raise OSError
        assert names(tmp_path) == []
        with partial_path(path, directory=True) as partial:
            (partial / "file").write_text("whole")
            assert not path.exists()
        assert names(tmp_path) == ["tree"]
        assert (path / "file").read_text() == "whole"

    def test_on_windows_it_waits_for_what_holds_the_name(self, tmp_path, monkeypatch):
        replace, refusals = Path.replace, [PermissionError(13, "held")] * 2

        def refuse(path, target):
            if refusals:
                raise refusals.pop()
            if target.is_dir():
                raise PermissionError(13, "a directory is there")
            return replace(path, target)

        monkeypatch.setattr(data.files, "ON_WINDOWS", True)
        monkeypatch.setattr(data.files, "HELD_SECONDS", (0.0,) * 3)
        monkeypatch.setattr(Path, "replace", refuse)
        write_text(tmp_path / "a", "text")
        assert (tmp_path / "a").read_text() == "text" and names(tmp_path) == ["a"]
        (tmp_path / "tree").mkdir()
        with partial_path(tmp_path / "tree", directory=True) as partial:
            (partial / "file").write_text("whole")
        assert (tmp_path / "tree" / "file").read_text() == "whole"
        refusals += [PermissionError(13, "held")] * 4
        with pytest.raises(PermissionError, match="held"):
            write_text(tmp_path / "a", "new")
        assert (tmp_path / "a").read_text() == "text" and names(tmp_path) == ["a", "tree"]

    def test_writers_at_once_do_not_disturb_each_other(self, tmp_path):
        path = tmp_path / "results" / "a.json"
        at_once(write_and_read, path, processes=3)
        assert names(path.parent) == ["a.json"]


def write_and_read(path):
    def work(number):
        write_text(path, json.dumps([number] * 1000))
        assert len(set(json.loads(path.read_text()))) == 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(WRITES)))


@contextmanager
def half_written(path, directory):
    with partial_path(path, directory=directory) as partial:
        (partial / "file" if directory else partial).write_text("half")
        yield


class TestRemoveAbandoned:
    @pytest.mark.parametrize("directory", [False, True])
    def test_removes_what_a_killed_process_left_and_nothing_else(
        self, tmp_path, monkeypatch, directory
    ):
        write_text(tmp_path / "whole.json", "whole")
        write_text(tmp_path / ".hidden.partial", "of somebody else")
        with process_inside(half_written, tmp_path / "a.json", directory) as process:
            (partial,) = set(names(tmp_path)) - {"whole.json", ".hidden.partial"}
            remove_abandoned(tmp_path)
            assert partial in names(tmp_path)  # it is alive
            kill(process)
            with monkeypatch.context() as elsewhere:
                elsewhere.setattr(socket, "gethostname", lambda: "another-machine")
                remove_abandoned(tmp_path)
                assert partial in names(tmp_path)  # whether it lives is not known there
            remove_abandoned(tmp_path)
        assert names(tmp_path) == [".hidden.partial", "whole.json"]

    def test_a_process_is_not_taken_for_an_older_one_of_its_number(self, tmp_path):
        with partial_path(tmp_path / "a.json") as partial:
            partial.write_text("half")
            remove_abandoned(tmp_path)
            assert partial.exists()
            os.utime(partial, (0, 0))
            remove_abandoned(tmp_path)
            assert not partial.exists()
            partial.touch()


def test_who_holds_a_lock_removes_what_anybody_left(tmp_path, monkeypatch):
    with process_inside(half_written, tmp_path / "a.json", False) as process:
        kill(process)
    with partial_path(tmp_path / "b.json") as partial:
        partial.touch()
        monkeypatch.setattr(socket, "gethostname", lambda: "another-machine")
        assert len(names(tmp_path)) == 2
        remove_partials(tmp_path / "a.json")
        assert names(tmp_path) == [partial.name]


def test_partial_files_are_told_apart_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node.of.a.cluster")
    with partial_path(tmp_path / "a[1]") as first, partial_path(tmp_path / "a[1].zip") as second:
        first.touch()
        second.touch()
        remove_partials(tmp_path / "a[1]")
        assert names(tmp_path) == [second.name]
        first.touch()
        remove_abandoned(tmp_path)
        assert len(names(tmp_path)) == 2


@pytest.mark.parametrize("name", ["step", "step/inside.json"])
def test_what_is_discarded_loses_its_name_before_its_content(tmp_path, monkeypatch, name):
    write_text(tmp_path / "step" / "inside.json", "whole")
    moved = []
    with monkeypatch.context() as killed:
        killed.setattr(data.files, "remove", moved.append)
        discard(tmp_path / name)
    assert not (tmp_path / name).exists()
    (file,) = [path for path in (*moved, *moved[0].glob("*")) if path.is_file()]
    assert file.read_text() == "whole"
    remove_partials(tmp_path / name)
    assert not moved[0].exists()


def test_removing_takes_files_trees_and_links_but_not_what_links_lead_to(tmp_path):
    tree = tmp_path / "tree"
    write_text(tree / "inside" / "file", "")
    (tmp_path / "link").symlink_to(tree)
    remove(tmp_path / "link")
    assert names(tmp_path) == ["tree"]
    remove(tree)
    remove(tree)
    assert names(tmp_path) == []


class TestLocked:
    def test_processes_wait_for_each_other(self, tmp_path):
        counter = tmp_path / "counter"
        counter.write_text("0")
        at_once(count_up, counter)
        assert counter.read_text() == "40"

    def test_a_killed_holder_lets_go(self, tmp_path):
        path = tmp_path / "run"
        with process_inside(locked, path) as process:
            with (
                pytest.raises(BlockingIOError, match=r"run' is in use by another process"),
                locked(path, wait=False),
            ):
                pass
            with locked(tmp_path / "another run", wait=False):
                pass
            kill(process)
            with locked(path, wait=False):
                pass

    def test_an_exception_lets_go(self, tmp_path):
        for _ in range(2):
            with pytest.raises(KeyError), locked(tmp_path / "run", wait=False):
                raise KeyError
        assert names(tmp_path) == [".locks"]


def count_up(counter):
    for _ in range(10):
        with locked(counter):
            count = int(counter.read_text())
            time.sleep(0.002)
            counter.write_text(str(count + 1))


class TestDigests:
    def test_a_changed_file_is_read_again_and_only_a_changed_one(self, tmp_path, monkeypatch):
        read = []
        original = hashlib.file_digest
        monkeypatch.setattr(
            hashlib, "file_digest", lambda file, kind: read.append(file) or original(file, kind)
        )
        path = tmp_path / "image.png"
        for time_of_change, content in enumerate([b"first", b"other", b"longer"]):
            path.write_bytes(content)
            os.utime(path, (time_of_change, time_of_change))
            for _ in range(2):
                assert file_digest(path) == hashlib.sha256(content).hexdigest()
        assert len(read) == 3

    def test_several_files_have_a_digest_of_contents_and_order(self, tmp_path):
        here, there = tmp_path / "here", tmp_path / "there"
        for directory in (here, there):
            write_text(directory / "1.png", "a")
            write_text(directory / "2.png", "b")
        both = files_digest([here / "1.png", here / "2.png"])
        assert files_digest([there / "1.png", there / "2.png"]) == both
        write_text(there / "2.png", "ba")
        different = {
            both,
            files_digest([here / "2.png", here / "1.png"]),
            files_digest([there / "1.png", there / "2.png"]),
            files_digest([here / "1.png"]),
        }
        assert len(different) == 4
        with pytest.raises(UserError, match=r"gone\.png' cannot be read \(No such file"):
            files_digest([here / "1.png", here / "gone.png"])
