"""Published archives: found on the disk or downloaded, verified, extracted safely."""

import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pooch
import requests
from tqdm import tqdm

from data.errors import DataError

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


def find_tree(
    categories: Sequence[str], archive: Archive, directory: Path, *, download: bool
) -> Path:
    """The extracted tree of a published data set, extracting or downloading it if need be.

    Args:
      categories: names of the folders in the tree.
      archive: the data set's archive.
      directory: holds the tree or the archive.
      download: whether the archive may be downloaded into it.

    Returns:
      The directory with the categories' folders, or ``directory`` if it has neither tree nor
      archive and nothing may be downloaded.

    Raises:
      DataError: the archive cannot be downloaded, verified or extracted.
    """
    candidates = (directory, directory / archive.outer_folder)
    for root in candidates:
        if any((root / category).is_dir() for category in categories):
            return root
    extracted = extracted_archive(archive, directory, download=download)
    return directory if extracted is None else extracted / archive.outer_folder


def extracted_archive(archive: Archive, directory: Path, *, download: bool) -> Path | None:
    """Returns the directory into which an archive has been extracted, extracting it if need be.

    Args:
      archive: which one.
      directory: where the archive lies, or is downloaded to; it is extracted beside it.
      download: whether it may be downloaded if it is not there.

    Returns:
      The extracted directory, or None where there is no archive and none may be downloaded.

    Raises:
      DataError: no connection, a wrong SHA-256, a name that would leave the directory, a full disk.
    """
    target = directory / archive.stem
    if target.is_dir():
        return target
    path = directory / archive.file_name
    if path.is_file():
        _verify(archive, path)
    elif download:
        _download(archive, directory)
    else:
        return None
    _extract(path, target)
    return target


def _verify(archive: Archive, path: Path) -> None:
    print(f"verifying '{path}'")
    found = pooch.file_hash(str(path))
    if found != archive.sha256:
        raise DataError(
            f"archive '{path}' has the SHA-256 {found}, expected {archive.sha256}; it is damaged "
            "or another version: delete it and download it again."
        )


def _download(archive: Archive, directory: Path) -> None:
    print(f"downloading {archive.address} ({archive.licence})")
    try:
        pooch.retrieve(
            archive.address,
            known_hash=archive.sha256,
            fname=archive.file_name,
            path=directory,
            progressbar=True,
        )
    except (requests.RequestException, OSError, ValueError) as error:
        raise DataError(
            f"'{archive.file_name}' could not be downloaded ({_first_line(error)}); download "
            f"{archive.address} elsewhere and put it into '{directory}', or give the extracted "
            "directory with --config.data.root=DIR."
        ) from error


def _extract(path: Path, target: Path) -> None:
    """Extracts into a temporary directory that takes its final name when all is there."""
    partial = None
    try:
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        extract = _extract_zip if path.suffix == ".zip" else _extract_tar
        for _ in tqdm(extract(path, partial), desc=f"extracting {path.name}", unit="file"):
            pass
        partial.chmod(0o755)  # temporary directories are made for their owner alone
        partial.replace(target)
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(
            f"archive '{path}' could not be extracted to '{target}' ({_first_line(error)}); make "
            "room if the disk is full, else fetch the archive again."
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


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


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
