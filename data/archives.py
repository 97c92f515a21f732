"""Published archives: found on the disk or downloaded, verified, extracted safely."""

import os
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from data.files import (
    DOWNLOAD_ERRORS,
    download,
    file_digest,
    locked,
    partial_path,
    remove_partials,
)
from dtsnet_jax.errors import UserError, first_line

_SUFFIXES = (".tar.xz", ".tar", ".zip")


@dataclass(frozen=True)
class Archive:
    """A data set's archive as its authors publish it.

    Attributes:
      address: where it is downloaded from.
      sha256: of the whole file, in hexadecimal digits.
      licence: its name; the user has to respect it.
      outer_folder: the folder in the archive that holds the categories' folders, if any.
    """

    address: str
    sha256: str
    licence: str
    outer_folder: str = ""

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.address.rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        """The file's name without its suffixes, which is the name of the extracted directory."""
        return next(self.file_name.removesuffix(s) for s in _SUFFIXES if self.file_name.endswith(s))


def data_directory() -> Path:
    """TFDS's directory of data, $TFDS_DATA_DIR or ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def download_directory() -> Path:
    """TFDS's directory of archives that were downloaded by hand."""
    return data_directory() / "downloads" / "manual"


def find_tree(categories: Sequence[str], archive: Archive, directory: Path, *, fetch: bool) -> Path:
    """The extracted tree of a published data set, extracting or downloading it if need be.

    Args:
      categories: names of the folders in the tree.
      archive: the data set's archive.
      directory: holds the tree or the archive.
      fetch: whether the archive may be downloaded into it.

    Returns:
      The directory with the categories' folders, or ``directory`` if it has neither tree nor
      archive and nothing may be downloaded.

    Raises:
      UserError: the archive cannot be downloaded, verified or extracted.
    """
    candidates = (directory, directory / archive.outer_folder)
    for root in candidates:
        if any((root / category).is_dir() for category in categories):
            return root
    extracted = extracted_archive(archive, directory, fetch=fetch)
    return directory if extracted is None else extracted / archive.outer_folder


def extracted_archive(archive: Archive, directory: Path, *, fetch: bool) -> Path | None:
    """Returns the directory into which an archive has been extracted, extracting it if need be.

    Several processes that want the same archive wait for the one that extracts it.

    Args:
      archive: which one.
      directory: where the archive lies, or is downloaded to; it is extracted beside it.
      fetch: whether it may be downloaded if it is not there.

    Returns:
      The extracted directory, or None where there is no archive and none may be downloaded.

    Raises:
      UserError: no connection, a wrong SHA-256, a name that would leave the directory, a full disk.
    """
    target, path = directory / archive.stem, directory / archive.file_name
    if target.is_dir():
        return target
    if not path.is_file() and not fetch:
        return None
    with _locked_for_writing(target):
        if target.is_dir():  # another process was faster
            return target
        if path.is_file():
            print(f"verifying '{path}'")
            _verify(archive, path)
        else:
            _download(archive, path)
        remove_partials(target)
        _extract(path, target)
    return target


@contextmanager
def _locked_for_writing(target: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(target))
        except OSError as error:
            raise UserError(
                f"'{target.parent}' cannot be written to ({first_line(error)}), but the archive in "
                "it has to be extracted there; extract it elsewhere and give that directory."
            ) from error
        yield


def _verify(archive: Archive, path: Path) -> None:
    found = file_digest(path)
    if found != archive.sha256:
        raise UserError(
            f"archive '{path}' has the SHA-256 {found}, expected {archive.sha256}; it is damaged "
            "or another version: delete it and download it again."
        )


def _download(archive: Archive, path: Path) -> None:
    print(f"downloading {archive.address} ({archive.licence})")

    def check(partial: Path) -> None:
        if file_digest(partial) != archive.sha256:
            raise OSError(f"its SHA-256 is not {archive.sha256}")

    try:
        download(archive.address, path, check=check)
    except DOWNLOAD_ERRORS as error:
        raise UserError(
            f"'{archive.file_name}' could not be downloaded ({first_line(error)}); download "
            f"{archive.address} elsewhere and put it into '{path.parent}', or give the extracted "
            "directory with --config.data.root=DIR."
        ) from error


def _extract(path: Path, target: Path) -> None:
    """Extracts into a temporary directory that takes its final name when all is there."""
    extract = _extract_zip if path.suffix == ".zip" else _extract_tar
    try:
        with partial_path(target, directory=True) as partial:
            for _ in tqdm(extract(path, partial), desc=f"extracting {path.name}", unit="file"):
                pass
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError(
            f"archive '{path}' could not be extracted to '{target}' ({first_line(error)}); make "
            "room if the disk is full, else fetch the archive again."
        ) from error


def _extract_tar(path: Path, directory: Path) -> Iterator[str]:
    with tarfile.open(path) as file:
        for member in file:
            file.extract(member, directory, filter="data")  # refuses paths that lead outside
            yield member.name


def _extract_zip(path: Path, directory: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise zipfile.BadZipFile(f"'{name}' would be written outside the directory")
            file.extract(name, directory)
            yield name
