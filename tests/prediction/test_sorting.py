import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from dtsnet_jax.prediction import sorting
from dtsnet_jax.prediction.sorting import sort_file


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "in" / "a.b.png"
    path.parent.mkdir()
    path.write_bytes(b"photograph")
    return path


@pytest.fixture(params=["same disk", "another disk"])
def disk(request, monkeypatch):
    """Whether files can be renamed from where they are to where they are sorted."""
    rename = Path.rename

    def refuse(path, target):
        if path.parent != target.parent:
            raise OSError(18, "Invalid cross-device link")
        return rename(path, target)

    if request.param == "another disk":
        monkeypatch.setattr(Path, "rename", refuse)


def visible(directory):
    paths = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return sorted(p.as_posix() for p in paths if not any(n.startswith(".") for n in p.parts))


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("move", [True, False])
def test_a_photograph_comes_whole_with_its_time(photograph, tmp_path, move):
    os.utime(photograph, ns=(0, 10**18))
    target = sort_file(photograph, tmp_path / "out", "NG", move=move)
    assert target == tmp_path / "out" / "NG" / "a.b.png"
    assert (target.read_bytes(), target.stat().st_mtime_ns) == (b"photograph", 10**18)
    assert photograph.exists() is not move
    assert visible(tmp_path / "out") == ["NG/a.b.png"]


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("move", [True, False])
def test_nothing_is_overwritten(photograph, tmp_path, move):
    folder = tmp_path / "out" / "OK"
    folder.mkdir(parents=True)
    (folder / "a.b.png").write_bytes(b"earlier")
    (folder / "a.b-2.png").symlink_to("nowhere")
    target = sort_file(photograph, tmp_path / "out", "OK", move=move)
    assert target.name == "a.b-3.png"
    assert (folder / "a.b.png").read_bytes() == b"earlier"
    assert (folder / "a.b-2.png").is_symlink()


def test_photographs_of_one_name_sorted_at_once_are_all_kept(tmp_path, monkeypatch):
    find = sorting._free

    def find_slowly(folder, path):
        target = find(folder, path)
        time.sleep(0.01)
        return target

    monkeypatch.setattr(sorting, "_free", find_slowly)
    paths = [tmp_path / str(number) / "a.png" for number in range(20)]
    for path in paths:
        path.parent.mkdir()
        path.write_text(path.parent.name)
    with ThreadPoolExecutor(4) as pool:
        targets = list(pool.map(lambda p: sort_file(p, tmp_path / "out", "OK", move=True), paths))
    assert [target.read_text() for target in targets] == [path.parent.name for path in paths]


@pytest.mark.parametrize("move", [True, False])
def test_of_a_link_the_photograph_is_copied(photograph, tmp_path, move):
    link = tmp_path / "in" / "link.png"
    link.symlink_to("a.b.png")
    target = sort_file(link, tmp_path / "out", "review", move=move)
    assert not target.is_symlink() and target.read_bytes() == b"photograph"
    assert photograph.exists() and link.is_symlink() is not move


@pytest.mark.usefixtures("disk")
def test_a_copy_that_fails_leaves_everything_as_it_was(photograph, tmp_path, monkeypatch):
    def fill_disk(source, target):
        Path(target).write_bytes(b"photo")
        raise OSError(28, "No space left on device")

    link = tmp_path / "in" / "link.png"
    link.symlink_to("a.b.png")
    monkeypatch.setattr(shutil, "copy2", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        sort_file(link, tmp_path / "out", "OK", move=True)
    assert link.read_bytes() == b"photograph"
    assert visible(tmp_path / "out") == [] and list((tmp_path / "out" / "OK").iterdir()) == []


@pytest.mark.parametrize("gone", [False, True])
def test_a_photograph_that_cannot_be_removed_is_there_once(photograph, tmp_path, monkeypatch, gone):
    unlink = Path.unlink

    def refuse(path, **options):
        if path != photograph or gone:
            unlink(path, **options)
        if path == photograph:  # a server's disk may remove it and fail to say so
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "rename", lambda *_: unlink(tmp_path / "none"))
    monkeypatch.setattr(Path, "unlink", refuse)
    with nullcontext() if gone else pytest.raises(OSError, match="Input/output"):
        sort_file(photograph, tmp_path / "out", "OK", move=True)
    assert photograph.exists() is not gone
    assert visible(tmp_path / "out") == (["OK/a.b.png"] if gone else [])


def test_a_photograph_that_has_vanished_is_an_error(tmp_path):
    for move in (True, False):
        with pytest.raises(FileNotFoundError):
            sort_file(tmp_path / "gone.png", tmp_path / "out", "OK", move=move)
    assert visible(tmp_path) == []
