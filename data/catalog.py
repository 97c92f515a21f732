"""What a data set consists of: a list of files with labels, before anything is decoded."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dtsnet_jax.errors import UserError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
GOOD = "good"
ALL = "all"  # what one model for all categories is called


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
      path: the image file.
      defect: 'good', or the kind of defect.
      mask: the file that marks the defect, None for good images and where there are no masks.
    """

    path: Path
    defect: str = GOOD
    mask: Path | None = None

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
      ignored: files that lie among the images but are none.
      texture: the images are filled by a surface; there is no background to leave out.
      parts: the categories that were joined to this one, in the order of their images.
    """

    category: str
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    ignored: tuple[Path, ...] = ()
    texture: bool = False
    parts: tuple["Catalog", ...] = ()

    def __post_init__(self):
        if len(self.train) < 2:
            where = f" ('{self.train[0].path}')" if self.train else ""
            raise UserError(
                f"category '{self.category}' has {len(self.train)} training images{where}; at "
                "least 2 good images are needed, and 50 or more are advised."
            )

    @property
    def has_masks(self) -> bool:
        """Whether every defective test image has a mask, so that pixels can be judged."""
        defective = [s for s in self.test if s.label]
        return bool(defective) and all(s.mask is not None for s in defective)

    def describe(self) -> str:
        """Counts per split and kind, with the first file of each, one line a kind."""
        lines = [f"{self.category}: what was found"]
        for split, samples in (("train", self.train), ("test", self.test)):
            for defect, count in sorted(Counter(s.defect for s in samples).items()):
                first = next(s.path for s in samples if s.defect == defect)
                lines.append(f"  {split:<5} {defect:<20} {count:>6}  first: {first}")
        if not self.test:
            lines.append("  test  none: the model is trained, nothing can be measured")
        elif not self.has_masks:
            lines.append("  masks none: metrics are for whole images only")
        if self.ignored:
            names = ", ".join(str(path) for path in self.ignored[:3])
            more = ", …" if len(self.ignored) > 3 else ""
            lines.append(f"  ignored, no image: {len(self.ignored)} files ({names}{more})")
        return "\n".join(lines)


def unite(catalogs: Sequence[Catalog]) -> Catalog:
    """All categories as one, for a model that learns them together."""
    return Catalog(
        ALL,
        tuple(sample for catalog in catalogs for sample in catalog.train),
        tuple(sample for catalog in catalogs for sample in catalog.test),
        parts=tuple(catalogs),
    )


def share_catalogs(
    catalogs: Sequence[Catalog], count: int, epochs: Callable[[Catalog], int]
) -> list[list[Catalog]]:
    """Deals categories out to ``count`` launches of about equal length.

    The longest ones are dealt first, each to the launch that has the least to do so far; the
    length of a category is its number of image visits, epochs times training images.

    Raises:
      UserError: there are more launches than categories.
    """
    if count > len(catalogs):
        raise UserError(
            f"data.shard asks for {count} shares of {len(catalogs)} categories; use at most "
            f"{len(catalogs)} shares."
        )
    visits = {c.category: epochs(c) * len(c.train) for c in catalogs}
    shares, totals = [set() for _ in range(count)], [0] * count
    for catalog in sorted(catalogs, key=lambda c: -visits[c.category]):
        least = totals.index(min(totals))
        shares[least].add(catalog.category)
        totals[least] += visits[catalog.category]
    return [[c for c in catalogs if c.category in share] for share in shares]


def list_images(directory: Path) -> tuple[list[Path], list[Path]]:
    """Finds the images below a directory, in the order of their names.

    Returns:
      The images, and the other files (hidden ones left out).

    Raises:
      UserError: the directory does not exist.
    """
    if not directory.is_dir():
        raise UserError(f"'{directory}' is no directory; a directory of images was expected.")
    files = sorted(
        path
        for path in directory.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    )
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    others = [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]
    return images, others
