"""Archives of the published data sets: verified, extracted, downloaded, refused."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from data.archives import Archive, extracted_archive
from data.files import partial_path
from data.readers import READERS
from dtsnet_jax.errors import UserError
from tests import miniature
from tests.data.processes import at_once, kill, process_inside
from tests.data.test_datasets import read

FIRST = {"mvtec_ad": "bottle", "visa": "candle", "btad": "01"}


def pack(tree: Path, path: Path) -> None:
    """Writes an archive of the kind that the file's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for source in sorted(tree.rglob("*")):
                file.write(source, source.relative_to(tree))
    else:
        with tarfile.open(path, "w:xz" if path.suffix == ".xz" else "w") as file:
            for source in sorted(tree.iterdir()):
                file.add(source, source.name)


def names(directory: Path) -> list[str]:
    """What lies in a directory besides the locks."""
    return sorted(path.name for path in directory.iterdir() if path.name != ".locks")


@pytest.fixture
def packed(miniatures, tfds_data, monkeypatch):
    """Puts a data set's archive into the download folder, with its hash as the published one."""

    def make(name: str) -> Path:
        layout = READERS[name]
        path = tfds_data / "downloads" / "manual" / layout.ARCHIVE.file_name
        pack(miniatures / name, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(layout, "ARCHIVE", replace(layout.ARCHIVE, sha256=digest))
        return path

    return make


@pytest.mark.parametrize("name", FIRST)
def test_an_archive_is_verified_extracted_once_and_read(packed, miniatures, name):
    path = packed(name)
    from_archive = read(name, "", FIRST[name])
    from_tree = read(name, miniatures / name, FIRST[name])
    assert [s.path.name for s in from_archive.test] == [s.path.name for s in from_tree.test]
    path.unlink()  # the extracted tree remains
    assert read(name, "", FIRST[name]) == from_archive
    assert names(path.parent) == [READERS[name].ARCHIVE.stem]


def test_an_archive_may_lie_in_the_root(packed, tmp_path):
    path = packed("btad")
    (tmp_path / "mine").mkdir()
    path.rename(tmp_path / "mine" / path.name)
    assert len(read("btad", tmp_path / "mine", "01").train) == miniature.TRAIN


def test_an_archive_with_another_hash_is_refused(packed):
    path = packed("mvtec_ad")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"mvtec_anomaly_detection\.tar\.xz' has the SHA-256"):
        read("mvtec_ad", "", "bottle")
    assert names(path.parent) == [path.name]


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_an_archive_that_leaves_its_directory_is_refused(tmp_path, suffix):
    path = tmp_path / "downloads" / f"evil{suffix}"
    path.parent.mkdir()
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("../../outside.txt", "x")
    else:
        with tarfile.open(path, "w") as file:
            member = tarfile.TarInfo("../../outside.txt")
            member.size = 1
            file.addfile(member, io.BytesIO(b"x"))
    archive = Archive(
        f"https://example.org/evil{suffix}",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        licence="none",
    )
    with pytest.raises(UserError, match="outside"):
        extracted_archive(archive, path.parent, fetch=False)
    assert not (tmp_path / "outside.txt").exists()
    assert names(path.parent) == [path.name]


def test_processes_at_once_extract_an_archive_once(packed, miniatures, capfd):
    path = packed("visa")
    extract = functools.partial(extracted_archive, READERS["visa"].ARCHIVE, path.parent)
    (tree,) = set(at_once(functools.partial(extract, fetch=False)))
    assert capfd.readouterr().out.count("verifying") == 1
    assert names(path.parent) == sorted([path.name, tree.name])
    assert read("visa", tree, "candle").train[0].path.is_file()
    files = [len(list(root.rglob("*"))) for root in (tree, miniatures / "visa")]
    assert files[0] == files[1]


def test_what_a_killed_extraction_left_is_cleared_away(packed):
    path = packed("btad")
    target = path.parent / "btad"
    with process_inside(functools.partial(partial_path, directory=True), target) as process:
        assert len(names(path.parent)) == 2
        kill(process)
        extracted_archive(READERS["btad"].ARCHIVE, path.parent, fetch=False)
    assert names(path.parent) == ["btad", "btad.zip"]


def test_an_archive_in_a_directory_that_cannot_be_written_to_is_refused(packed):
    path = packed("btad")
    (path.parent / ".locks").touch()  # no directory can be made here
    with pytest.raises(UserError, match=r"manual' cannot be written to .*extract it elsewhere"):
        read("btad", "", "01")


def test_a_data_set_that_cannot_be_downloaded_says_where_to_get_it(tfds_data, monkeypatch):
    unreachable = replace(READERS["btad"].ARCHIVE, address="http://127.0.0.1:9/btad.zip")
    monkeypatch.setattr(READERS["btad"], "ARCHIVE", unreachable)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/btad\.zip elsewhere and put it into"):
        read("btad", "", "01")


@pytest.fixture
def served(packed):
    """Serves a data set's archive over HTTP instead of leaving it in the download folder.

    Gives the list of requests so far.
    """
    servers = []

    def make(name: str) -> list[str]:
        path = packed(name)
        directory = path.parent.parent / "served"
        directory.mkdir()
        path.rename(directory / path.name)
        requests: list[str] = []
        handler = functools.partial(NotingHandler, requests, directory=directory)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        layout = READERS[name]
        layout.ARCHIVE = replace(
            layout.ARCHIVE, address=f"http://127.0.0.1:{server.server_port}/{path.name}"
        )
        return requests

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


class NotingHandler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, requests, *arguments, **options):
        self.requests = requests
        super().__init__(*arguments, **options)

    def log_message(self, message, *values):
        self.requests.append(message % values)


def test_an_archive_is_downloaded_and_verified(served, miniatures):
    served("visa")
    downloaded = read("visa", "", "candle")
    assert len(downloaded.train) == miniature.TRAIN
    assert len(downloaded.test) == miniature.TEST_GOOD + miniature.DEFECTIVE


def test_processes_at_once_download_an_archive_once(served, tfds_data):
    requests = served("btad")
    directory = tfds_data / "downloads" / "manual"
    at_once(functools.partial(extracted_archive, READERS["btad"].ARCHIVE, directory, fetch=True))
    assert len(requests) == 1
    assert names(directory) == ["btad", "btad.zip"]


def test_a_download_with_another_hash_is_refused(served, tfds_data):
    served("btad")
    layout = READERS["btad"]
    layout.ARCHIVE = replace(layout.ARCHIVE, sha256="0" * 64)
    with pytest.raises(UserError, match=r"btad\.zip' could not .* \(its SHA-256 is not 0{64}\)"):
        read("btad", "", "01")
    assert names(tfds_data / "downloads" / "manual") == []
