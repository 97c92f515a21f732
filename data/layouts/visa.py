"""The two trees of VisA: as published (Data/ and split_csv/) and re-arranged like MVTec AD."""

import csv
import io
from pathlib import Path

from data.archives import Archive
from data.catalog import Catalog, Sample, is_file, is_folder
from data.layouts.tree import category_directory, read_tree
from dtsnet_jax.errors import UserError, first_line

CATEGORIES = (
    "candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2", "pcb1",
    "pcb2", "pcb3", "pcb4", "pipe_fryum",
)  # fmt: skip
SPLIT_FILE = Path("split_csv") / "1cls.csv"
COLUMNS = ("object", "split", "label", "image", "mask")
ARCHIVE = Archive(
    "https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar",
    sha256="2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
    licence="CC BY 4.0, by others' account CC BY-NC-SA 4.0",
)


def categories(root: Path) -> list[str]:
    """All 12 categories."""
    del root
    return list(CATEGORIES)


def read(root: Path, category: str) -> Catalog:
    """Lists a category.

    Args:
      root: the extracted archive, or the re-arranged tree.
      category: one of ``CATEGORIES``.

    Raises:
      UserError: wrong root, a listed file or a mask is missing.
    """
    directory = category_directory(root, category, CATEGORIES)
    if is_folder(directory / "train"):
        train, test, ignored = read_tree(directory, good_name="good")
        return Catalog(category, tuple(train), tuple(test), tuple(ignored))
    samples = _read_split(root, category)
    return Catalog(category, tuple(samples["train"]), tuple(samples["test"]))


def _read_split(root: Path, category: str) -> dict[str, list[Sample]]:
    table = root / SPLIT_FILE
    if not is_file(table):
        raise UserError(
            f"'{table}' does not exist, and '{root / category}' has no folder 'train'; data.root "
            "is the directory of the extracted archive."
        )
    samples: dict[str, list[Sample]] = {"train": [], "test": []}
    try:
        reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"), newline=""))
        rows, columns = list(reader), reader.fieldnames or ()
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"'{table}' is damaged ({first_line(error)}); extract the archive again."
        ) from error
    if not set(COLUMNS) <= set(columns):
        raise UserError(
            f"'{table}' has the columns {columns}, expected {', '.join(COLUMNS)}; extract the "
            "archive again."
        )
    for number, row in enumerate(rows, start=2):
        if row["split"] not in samples or any(row[column] is None for column in COLUMNS):
            raise UserError(f"'{table}', row {number} is damaged; extract the archive again.")
        if row["object"] == category:
            samples[row["split"]].append(_sample(root, row, table))
    for split in samples.values():
        split.sort(key=lambda sample: (sample.label, sample.path.name))
    return samples


def _sample(root: Path, row: dict[str, str], table: Path) -> Sample:
    defective = row["label"] == "anomaly"
    paths = [root / row["image"]] + ([root / row["mask"]] if defective else [])
    for path in paths:
        if not is_file(path):
            raise UserError(f"'{path}', listed in '{table}', does not exist; extract it again.")
    return Sample(paths[0], "bad", (paths[1],)) if defective else Sample(paths[0])
