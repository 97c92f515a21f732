"""What a data set consists of: a list of files with labels, before anything is decoded."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from natsort import natsorted, ns

from dtsnet_jax.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".jp2", ".j2k"}
    | {".pgm", ".ppm", ".pbm"}
)
IMAGE_FORMATS = "PNG, JPEG, WebP, BMP, TIFF, JPEG 2000, PGM, PPM or PBM"  # as messages name them
GOOD = "good"
GOOD_NAMES = ("good", "normal", "ok")  # what folders and tables call it
DEFECTIVE = "defective"  # where the kind of defect has no name
ALL = "all"  # what one model for all categories is called
NOT_IN_NAMES = frozenset('/\\:*?"<>|')  # one system or another refuses them in names of files

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
      path: the image file.
      defect: 'good', or the kind of defect.
      masks: the files that mark the defect, which is their union; none for good images and where
        there are no masks.
      group: images of the same group belong together, as those of one batch or camera do.
    """

    path: Path
    defect: str = GOOD
    masks: tuple[Path, ...] = ()
    group: str = ""

    @property
    def label(self) -> int:
        """0 for good, 1 for defective."""
        return int(self.defect != GOOD)


@dataclass(frozen=True)
class Catalog:
    """One category of a data set.

    Attributes:
      category: its name.
      train: good images to learn from.
      test: images to score; may be empty.
      calibration: good images that are neither learned from nor tested on: what thresholds rest on.
      ignored: files that lie among the images but are none.
      notes: what else the user should know of what was found, a line each.
      texture: the images are filled by a surface; there is no background to leave out.
      parts: the categories that were joined to this one, in the order of their images.
    """

    category: str
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    ignored: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    texture: bool = False
    parts: tuple["Catalog", ...] = ()
    calibration: tuple[Sample, ...] = ()

    def __post_init__(self):
        if len(self.train) < 2:
            where = f" ('{self.train[0].path}')" if self.train else ""
            raise UserError(
                f"category '{self.category}' has {len(self.train)} training images{where}; at "
                "least 2 good images are needed, and 50 or more are advised."
            )

    @property
    def has_masks(self) -> bool:
        """Whether any defective test image has a mask, so that pixels can be judged."""
        return any(sample.masks for sample in self.test if sample.label)

    def describe(self) -> str:
        """Counts per split and kind, with the first file of each, one line a kind."""
        lines = [f"{self.category}: what was found"]
        splits = {"train": self.train, "calibration": self.calibration, "test": self.test}
        for split, samples in splits.items():
            for defect, count in sorted(Counter(s.defect for s in samples).items()):
                first = next(s.path for s in samples if s.defect == defect)
                lines.append(f"  {split:<11} {defect:<20} {count:>6}  first: {first}")
        if not self.test:
            lines.append("  test  none: the model is trained, nothing can be measured")
        else:
            lines.append(f"  masks {self._describe_masks()}")
        if self.ignored:
            names = ", ".join(str(path) for path in self.ignored[:3])
            more = ", …" if len(self.ignored) > 3 else ""
            lines.append(f"  ignored, no image: {len(self.ignored)} files ({names}{more})")
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)

    def _describe_masks(self) -> str:
        defective = [sample for sample in self.test if sample.label]
        without = [sample for sample in defective if not sample.masks]
        if len(without) == len(defective):
            return "none: metrics are for whole images only"
        found = f"of {len(defective) - len(without)} of {len(defective)} defective images"
        if not without:
            return found
        return f"{found}; metrics of pixels leave the others out, first: {without[0].path}"


def unite(catalogs: Sequence[Catalog]) -> Catalog:
    """All categories as one, for a model that learns them together."""
    return Catalog(
        ALL,
        tuple(sample for catalog in catalogs for sample in catalog.train),
        tuple(sample for catalog in catalogs for sample in catalog.test),
        parts=tuple(catalogs),
        calibration=tuple(sample for catalog in catalogs for sample in catalog.calibration),
    )


def share_catalogs(
    catalogs: Sequence[Catalog], count: int, length: Callable[[Catalog], int]
) -> list[list[Catalog]]:
    """Deals categories out to ``count`` launches of about equal length.

    The longest ones are dealt first, each to the launch that has the least to do so far;
    ``length`` gives the number of image visits of a category.

    Raises:
      UserError: there are more launches than categories.
    """
    if count > len(catalogs):
        raise UserError(
            f"data.shard asks for {count} shares of {len(catalogs)} categories; use at most "
            f"{len(catalogs)} shares."
        )
    visits = {c.category: length(c) for c in catalogs}
    shares, totals = [set() for _ in range(count)], [0] * count
    for catalog in sorted(catalogs, key=lambda c: -visits[c.category]):
        least = totals.index(min(totals))
        shares[least].add(catalog.category)
        totals[least] += visits[catalog.category]
    return [[c for c in catalogs if c.category in share] for share in shares]


def list_images(directory: Path) -> tuple[list[Path], list[Path]]:
    """Finds the images below a directory, in the order of their names as people count: 9, 10.

    Links to directories are followed.

    Returns:
      The images, and the other files (hidden ones left out).

    Raises:
      UserError: the directory does not exist, one may not be read, a link leads to nowhere or back
        to a directory around it, or a name is not encoded in UTF-8.
    """
    if not is_folder(directory):
        raise UserError(f"'{directory}' is no directory; a directory of images was expected.")
    files = by_name(_walk(directory), lambda path: path.relative_to(directory).as_posix())
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    for path in images:
        if target := broken_link(path):
            raise UserError(
                f"'{path}' is a link to '{target}', which does not exist; remove it, or "
                "bring back what it leads to."
            )
    others = [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]
    return images, others


def is_folder(path: Path) -> bool:
    """Whether a folder can be seen there."""
    with suppress(OSError):  # what lies above may not be read, or the name is too long
        return path.is_dir()
    return False


def is_file(path: Path) -> bool:
    """Whether a file can be seen there."""
    with suppress(OSError):
        return path.is_file()
    return False


def comparable(path: Path) -> Path:
    """A path without its suffix; how its accents are encoded makes no difference."""
    return Path(unicodedata.normalize("NFC", str(path.with_suffix(""))))


def find_folder(directory: Path, *names: str) -> Path | None:
    """The folder that has the first of some names, be it in upper case; None if none is seen."""
    with suppress(OSError):
        named = [path for path in directory.iterdir() if path.name.casefold() in names]
        folders = [path for path in named if is_folder(path)]
        return min(folders, key=lambda f: (names.index(f.name.casefold()), f.name), default=None)
    return None


def name_unused(directory: Path, used: Iterable[Path | None]) -> list[str]:
    """A note on the folders and the images in a directory that are not read, if there are any."""
    folders = [folder.name for folder in subfolders(directory) if folder not in used]
    visible = [path for path in directory.iterdir() if not path.name.startswith(".")]
    images = sorted(p.name for p in visible if p.suffix.lower() in IMAGE_SUFFIXES and is_file(p))
    found = [f"the folders {', '.join(folders)}"] if folders else []
    found += [f"{len(images)} images (first: {images[0]})"] if images else []
    return [f"not used: {' and '.join(found)} in '{directory}'"] if found else []


def broken_link(path: Path) -> Path | None:
    """What a link leads to that does not exist; None for all else."""
    with suppress(OSError):
        return path.readlink() if path.is_symlink() and not path.exists() else None
    return None


def subfolders(directory: Path) -> list[Path]:
    """The folders in a directory, in the order of their names, hidden ones left out.

    Raises:
      UserError: the directory may not be read.
    """
    try:
        folders = [p for p in directory.iterdir() if is_folder(p) and not p.name.startswith(".")]
    except OSError as error:
        _refuse_unreadable(error)
    for folder in folders:
        _refuse_undecodable(folder)
    return by_name(folders, lambda folder: folder.name)


def by_name(items: Iterable[T], name: Callable[[T], str]) -> list[T]:
    """Sorts by name as people count, 9 before 10, whatever the order before.

    Args:
      items: anything.
      name: its name, which may be a path with '/'.
    """
    # Sorted before, because '1' and '01' count as equal.
    return natsorted(sorted(items, key=name), key=name, alg=ns.PATH)


def _walk(directory: Path) -> Iterator[Path]:
    """Yields the files below a directory, hidden ones left out."""
    chains = {directory: (directory.resolve(),)}  # the real directories around each, and its own
    for current, names, files in os.walk(directory, onerror=_refuse_unreadable, followlinks=True):
        chain = chains.pop(Path(current))
        names[:] = [name for name in names if not name.startswith(".")]
        for path in (Path(current, name) for name in names):
            _refuse_undecodable(path)
            real = path.resolve()
            if real in chain:
                raise UserError(
                    f"'{path}' is a link to '{real}', a directory that it lies in, so that the "
                    "search for images would never end; remove the link."
                )
            chains[path] = (*chain, real)
        for path in (Path(current, name) for name in files if not name.startswith(".")):
            _refuse_undecodable(path)
            yield path


def _refuse_undecodable(path: Path) -> None:
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"the name of a file or folder is not encoded in UTF-8 ({str(path)!a}); rename it."
        ) from error


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise UserError(
        f"directory '{error.filename}' cannot be read ({error.strerror}); allow it, or move it."
    ) from error
