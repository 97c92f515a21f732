import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import watchfiles

import dtsnet_jax.prediction.watching as watching_module
from dtsnet_jax.errors import UserError
from dtsnet_jax.prediction.watching import settled_images

# An exception that ends a thread fails the test.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

PATIENCE = 60  # seconds after which a test fails rather than hangs
QUIET = 0.2


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def watch(folder, **options):
    return closing(settled_images(folder, quiet_seconds=QUIET, **options))


def take(watching, count):
    """The next images, at least ``count`` of them."""
    images, end = [], time.monotonic() + PATIENCE
    while len(images) < count:
        assert time.monotonic() < end, images
        images += next(watching)
    return images


def rest(watching, folder):
    """The next images up to one that is put there now."""
    last = folder / "last.png"
    last.write_bytes(b"last")
    images, end = [], time.monotonic() + PATIENCE
    while last not in images:
        assert time.monotonic() < end, images
        images += next(watching)
    last.unlink()
    return images[: images.index(last)]


def put(folder, *names):
    """Puts files there at one stroke each."""
    for name in names:
        path, hidden = folder / name, folder / ".hidden"
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden.write_bytes(b"x")
        hidden.rename(path)


def fail(*_, **__):
    raise OSError(28, "inotify watch limit reached")


def test_what_is_there_comes_first_in_natural_order_then_what_arrives(folder):
    put(folder, "10.png", "9.JPG", "sub/1.tif", "a.txt", ".b.png", ".c/d.png")
    (folder / "e.png").mkdir()
    with watch(folder) as watching:
        expected = [folder / name for name in ("9.JPG", "10.png", "sub/1.tif")]
        assert take(watching, 3) == expected
        for name in ("z.png", "8.png", "sub/2.PNG", "b.txt", ".d.png"):
            put(folder, name)
            time.sleep(0.02)  # longer than a tick of the file system's clock
        assert take(watching, 3) == [folder / name for name in ("z.png", "8.png", "sub/2.PNG")]
        assert rest(watching, folder) == []


def test_of_a_burst_each_comes_once(folder):
    paths = [folder / f"{index}.png" for index in range(200)]

    def write():
        for path in paths:
            path.write_bytes(b"x" * 10000)

    with watch(folder) as watching:
        next(watching)
        writer = threading.Thread(target=write)
        writer.start()
        images = take(watching, 200)
        writer.join()
        assert sorted(images) == sorted(paths)
        assert rest(watching, folder) == []


@pytest.mark.parametrize("told", [True, False])
def test_a_file_written_slowly_comes_once_and_whole(folder, monkeypatch, told):
    if not told:
        monkeypatch.setattr(watchfiles, "watch", fail)
    path = folder / "slow.png"
    with watch(folder) as watching, path.open("wb", buffering=0) as file:
        end = time.monotonic() + 10 * QUIET  # a search comes in between
        while time.monotonic() < end:
            file.write(b"piece")
            assert next(watching) == []
        assert take(watching, 1) == [path]
        assert rest(watching, folder) == []


def test_files_and_folders_moved_into_place_come(folder, tmp_path):
    put(tmp_path, "other/a.png", "other/more/b.png", "c.png.part", "away/d.png")
    with watch(folder) as watching:
        next(watching)
        (tmp_path / "c.png.part").rename(folder / "c.png")
        (tmp_path / "other").rename(folder / "other")
        (tmp_path / "away" / "d.png").rename(folder / "d.png")
        names = ("c.png", "d.png", "other/a.png", "other/more/b.png")
        assert sorted(take(watching, 4)) == [folder / name for name in names]
        (folder / "c.png").rename(folder / "e.png")
        assert take(watching, 1) == [folder / "e.png"]


def test_links_are_followed_but_not_in_circles(folder, tmp_path):
    put(tmp_path, "elsewhere/a.png", "elsewhere/more/b.png")
    with watch(folder) as watching:
        next(watching)
        (folder / "link.png").symlink_to(tmp_path / "elsewhere" / "a.png")
        (folder / "nowhere.png").symlink_to("missing")
        (folder / "itself").symlink_to("itself")
        (folder / "around").symlink_to(folder)
        assert take(watching, 1) == [folder / "link.png"]
        (folder / "folder").symlink_to(tmp_path / "elsewhere")
        expected = [folder / "folder" / "a.png", folder / "folder" / "more" / "b.png"]
        assert sorted(take(watching, 2)) == expected
        put(folder, "missing")
        assert take(watching, 1) == [folder / "nowhere.png"]
        assert rest(watching, folder) == []


def test_a_file_comes_again_if_it_is_replaced_or_was_away(folder):
    path = folder / "a.png"
    put(folder, "a.png")
    with watch(folder) as watching:
        assert take(watching, 1) == [path]
        path.write_bytes(b"longer")
        assert take(watching, 1) == [path]
        path.touch()
        assert take(watching, 1) == [path]
        path.chmod(0o600)  # is no other content
        status = path.stat()
        assert rest(watching, folder) == []
        path.unlink()
        assert rest(watching, folder) == []
        path.write_bytes(b"second")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert take(watching, 1) == [path]


def test_a_file_that_vanishes_before_it_settles_never_comes(folder):
    with watch(folder) as watching:
        next(watching)
        for index in range(5):
            put(folder, f"{index}.png")
            next(watching)
            (folder / f"{index}.png").unlink()
        assert rest(watching, folder) == []


def test_ignored_folders_are_left_out_also_through_links(folder):
    put(folder, "sorted/OK/a.png", "b.png")
    (folder / "link").symlink_to("sorted")
    with watch(folder, ignoring=[folder / "sorted", folder / "later"]) as watching:
        assert take(watching, 1) == [folder / "b.png"]
        put(folder, "sorted/OK/c.png", "later/d.png")
        assert rest(watching, folder) == []


@pytest.mark.parametrize("relative", [True, False])
def test_the_system_tells_of_files_before_they_are_searched_for(folder, monkeypatch, relative):
    monkeypatch.setattr(watching_module, "_SEARCH_SECONDS", 1000 * PATIENCE)
    monkeypatch.chdir(folder)
    with watch(Path() if relative else folder) as watching:
        end, images = time.monotonic() + PATIENCE, []
        while not images:  # it listens from some moment on
            assert time.monotonic() < end
            put(folder, f"{time.monotonic()}.png")
            images = next(watching)
        assert {image.parent for image in images} == {folder}


def test_names_that_are_not_utf_8_come_and_others_after_them(folder):
    name = os.fsdecode(b"\xff.png")
    with watch(folder) as watching:
        next(watching)
        put(folder, name)
        assert take(watching, 1) == [folder / name]
        put(folder, "a.png")
        assert take(watching, 1) == [folder / "a.png"]


def test_files_come_where_the_system_tells_of_nothing(folder, monkeypatch):
    monkeypatch.setattr(watchfiles, "watch", fail)
    with watch(folder) as watching:
        next(watching)
        put(folder, "a.png")
        assert take(watching, 1) == [folder / "a.png"]


class TestTheEnd:
    def test_a_folder_that_does_not_exist_is_refused_at_once(self, folder):
        with pytest.raises(UserError, match=r"'.*missing', in which photographs are awaited"):
            settled_images(folder / "missing")

    def test_a_folder_that_vanishes_is_an_error(self, folder):
        with watch(folder) as watching:
            next(watching)
            folder.rmdir()
            with pytest.raises(UserError, match="does not exist"):
                take(watching, 1)

    def test_comes_when_it_is_asked_for_and_no_thread_remains(self, folder):
        stop, before = threading.Event(), set(threading.enumerate())
        with watch(folder, stop=stop) as watching:
            next(watching)
            assert set(threading.enumerate()) - before
            stop.set()
            assert list(watching) == []
        assert not set(threading.enumerate()) - before

    def test_a_signal_raises_what_its_handler_does(self, folder):
        class Terminated(BaseException):
            pass

        def terminate(*_):
            raise Terminated

        before = signal.signal(signal.SIGTERM, terminate)
        try:
            with watch(folder) as watching, pytest.raises(Terminated):
                next(watching)
                threading.Timer(QUIET, os.kill, (os.getpid(), signal.SIGTERM)).start()
                take(watching, 1)
        finally:
            signal.signal(signal.SIGTERM, before)
