import os
import sys
from pathlib import Path

import pytest

from dtsnet_jax.errors import UserError
from dtsnet_jax.prediction.sources import find_images


@pytest.fixture
def photographs(tmp_path):
    for name in ("b/10.png", "b/9.JPG", "a.tif", "b/c/1.png", "notes.txt", ".hidden.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def found(directory, pattern=""):
    paths = find_images(str(directory / pattern))
    return [path.relative_to(directory).as_posix() for path in paths]


def test_a_file_is_taken_whatever_it_is_called(photographs):
    assert found(photographs, "notes.txt") == ["notes.txt"]
    (photographs / "part[1]*.raw").touch()
    assert found(photographs, "part[1]*.raw") == ["part[1]*.raw"]


def test_of_a_directory_all_images_are_taken_in_natural_order(photographs):
    assert found(photographs) == ["a.tif", "b/9.JPG", "b/10.png", "b/c/1.png"]


def test_a_pattern_takes_images_in_natural_order(photographs):
    assert found(photographs, "b/*") == ["b/9.JPG", "b/10.png"]
    assert found(photographs, "**/*.png") == ["b/10.png", "b/c/1.png"]
    assert found(photographs, "*") == ["a.tif"]
    names = [f"{number}.bmp" for number in range(20)]
    for name in names:
        (photographs / name).touch()
    assert found(photographs, "*.bmp") == names
    assert found(photographs, "b/[0-9].*") == ["b/9.JPG"]


def test_a_tilde_is_the_home_directory(photographs, monkeypatch):
    monkeypatch.setenv("HOME", str(photographs))
    assert find_images("~/b/*.png") == [photographs / "b" / "10.png"]
    assert find_images("~/a.tif") == [photographs / "a.tif"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("none.png", r"none\.png', which is no file or directory; give a file, a directory, a"),
        ("none", r"none', which is no file or directory"),
        ("*.bmp", r"/\*\.bmp', which matches no image but nothing"),
        ("n*", r"/n\*', which matches no image but 1 other names \(first: '.*notes\.txt'\)"),
        ("folder.png", r"folder\.png', which holds no image; give one with PNG"),
    ],
)
def test_a_source_of_nothing_is_refused(photographs, pattern, message):
    with pytest.raises(UserError, match=message):
        find_images(str(photographs / pattern))


def test_an_empty_source_is_not_the_current_directory(photographs, monkeypatch):
    monkeypatch.chdir(photographs)
    assert find_images(".")
    with pytest.raises(UserError, match="--images is ''"):
        find_images("")


def test_paths_from_standard_input_are_taken_as_they_are(monkeypatch):
    lines = b"one.png\n\n  \r\n with spaces .png \r\nmissing/\xff.png\nfound\0by find\0last"
    reading, writing = os.pipe()
    os.write(writing, lines)
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        found = list(find_images("-"))
    expected = [b"one.png", b" with spaces .png ", b"missing/\xff.png", b"found", b"by find"]
    assert found == [Path(os.fsdecode(name)) for name in [*expected, b"last"]]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="standard input is closed"):
        next(find_images("-"))


def test_paths_from_standard_input_come_one_by_one(monkeypatch):
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "w") as writer:
        monkeypatch.setattr(sys, "stdin", stdin)
        paths = find_images("-")
        for name in ("a.png", "b.png"):
            print(name, file=writer, flush=True)
            assert next(paths) == Path(name)  # the pipe is still open
