"""A table of images that may lie anywhere: CSV with a line for each.

image       path, relative to the table
label       good, normal, ok, 0 or false; 1, true, or in words the kind of defect
split       train, test or empty: defective images are for testing, some good ones held back
mask        path, several separated by '|', or empty; COCO's JSON may stand in many lines
group       what belongs together, for data.held_back_by=group
category    one model for each, a name that a directory may have; without it the table is one

The first two columns are needed. Cells are separated by commas, semicolons or tabs.
"""

import csv
import difflib
import io
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from data.annotations import Marks, path_parts, read_annotations
from data.catalog import (
    ALL,
    DEFECTIVE,
    GOOD,
    GOOD_NAMES,
    NOT_IN_NAMES,
    Catalog,
    Sample,
    broken_link,
    by_name,
    is_file,
)
from data.files import once_a_version
from data.holdback import describe_shared_groups, hold_back
from data.layouts.named import find_named
from data.masks import is_json
from dtsnet_jax.errors import UserError

SUFFIXES = frozenset({".csv", ".tsv", ".txt"})
_NEEDED = ("image", "label")
_COLUMNS = (*_NEEDED, "split", "mask", "group", "category")
_GOOD_LABELS = frozenset({*GOOD_NAMES, "0", "0.0", "false"})
_DEFECTIVE_LABELS = frozenset({"1", "1.0", "true", "bad", "anomaly"})  # which name no kind
_SPLITS = ("train", "test", "")
_NOT_IN_CATEGORIES = NOT_IN_NAMES | {","}  # they name directories, and are listed


@dataclass(frozen=True)
class _Row:
    where: str  # for messages
    cells: dict[str, str]  # by column, empty where the table has no such column

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    @property
    def split(self) -> str:
        return self["split"].lower()

    def error(self, what: str) -> UserError:
        return UserError(f"{self.where}: {what}")


def categories(table: Path) -> list[str]:
    """The categories in the order of their first lines, or the table's name.

    Raises:
      UserError: the table cannot be read.
    """
    return list(_read_rows(table)[0])


def read(table: Path, category: str, *, held_back: float, held_back_by: str) -> Catalog:
    """Lists the images of a category.

    If there are defective images, some of the good ones that have no split are held back.

    Args:
      table: the CSV file.
      category: one of ``categories``.
      held_back: share of the good images without split, from 0 to below 1, that is held back.
      held_back_by: how these are chosen, see ``data.holdback``.

    Raises:
      UserError: naming the table and the line.
    """
    rows_by_category, notes = _read_rows(table)
    rows = by_name(rows_by_category[category], lambda row: row["image"])
    samples = [_sample(table, row) for row in rows]
    _refuse_repeated(rows, samples)
    samples = _named_only(rows, samples)
    by_split = {
        split: [sample for row, sample in zip(rows, samples, strict=True) if row.split == split]
        for split in _SPLITS
    }
    good = [sample for sample in by_split[""] if not sample.label]
    train, test = by_split["train"], by_split["test"]
    if len(train) + len(good) < 2:
        raise UserError(
            f"'{table}': {len(train) + len(good)} good images of the category '{category}' are "
            f"for training and {sum(not s.label for s in test)} have the split 'test'; at least 2 "
            "are needed for training, whose split is 'train' or empty."
        )
    test = test + [sample for sample in by_split[""] if sample.label]
    share = held_back if any(sample.label for sample in test) else 0.0
    rest, held = hold_back(good, share, held_back_by, train=train, test=test)
    train, test = [*train, *rest], sorted([*test, *held], key=lambda sample: sample.label)
    if held_back_by == "group":
        notes = notes + describe_shared_groups(train, test)
    return Catalog(category, tuple(train), tuple(test), notes=tuple(notes))


def _read_rows(table: Path) -> tuple[dict[str, list[_Row]], list[str]]:
    """The lines of each category, and a note on columns that have no meaning here.

    They are read once a process as long as the table is unchanged.
    """
    try:
        return _parse(table)
    except OSError as error:
        raise UserError(f"'{table}' cannot be read ({error.strerror}); replace it.") from error


@once_a_version
def _parse(table: Path) -> tuple[dict[str, list[_Row]], list[str]]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"'{table}' is not encoded in UTF-8; save it as 'CSV UTF-8', as spreadsheets call it."
        ) from error
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        if header and header[0].lower().startswith("sep="):  # for Excel
            header = next(reader, [])
        columns = [cell.strip().lower() for cell in header]
        notes = _check_columns(table, f"'{table}', line {max(reader.line_num, 1)}", columns)
        rows: dict[str, list[_Row]] = {}
        for cells in reader:
            where = f"'{table}', line {reader.line_num}"
            if any(cell.strip() for cell in cells):
                row = _row(table, where, columns, cells)
                rows.setdefault(row["category"], []).append(row)
    except csv.Error as error:
        raise UserError(
            f"'{table}', line {reader.line_num}: {error}; save the table as CSV again."
        ) from error
    if not rows:
        raise UserError(f"'{table}' has no lines below its header; list an image in each.")
    return rows, notes


def _check_columns(table: Path, where: str, columns: list[str]) -> list[str]:
    missing = [column for column in _NEEDED if column not in columns]
    unknown = [column for column in columns if column not in _COLUMNS]
    found = ", ".join(f"'{column}'" for column in columns) or "nothing"
    if missing:
        raise UserError(
            f"{where}: the column '{missing[0]}' is missing, found {found}; the columns "
            f"are {', '.join(_COLUMNS)}, of which {' and '.join(_NEEDED)} are needed."
        )
    if repeated := [column for column in _COLUMNS if columns.count(column) > 1]:
        raise UserError(f"{where}: there are two columns '{repeated[0]}'; remove one of them.")
    absent = [column for column in _COLUMNS if column not in columns]
    for column in unknown:
        if near := difflib.get_close_matches(column, absent, n=1, cutoff=0.7):
            raise UserError(f"{where}: the column '{column}' is unknown; did you mean '{near[0]}'?")
    named = ", ".join(filter(None, unknown))
    return [f"not used: the columns {named} of '{table}'"] if named else []


def _row(table: Path, where: str, columns: list[str], cells: list[str]) -> _Row:
    given = dict.fromkeys(columns, "")
    given |= zip(columns, (cell.strip() for cell in cells), strict=False)
    row = _Row(where, dict.fromkeys(_COLUMNS, "") | {"category": table.stem} | given)
    if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
        raise row.error(
            f"{len(cells)} cells, but the header has {len(columns)}; quote cells that hold the "
            "separator."
        )
    for column in _NEEDED:
        if not row[column]:
            raise row.error(f"the column '{column}' is empty; fill it.")
    if row.split not in _SPLITS:
        raise row.error(f"split is '{row['split']}', expected train, test or nothing.")
    name = given.get("category")
    if name is not None and (name in ("", ALL) or name[0] == "." or set(name) & _NOT_IN_CATEGORIES):
        raise row.error(
            f"category is '{name}', expected a name, which is not '{ALL}', does not begin with a "
            f"dot, and has none of {' '.join(sorted(_NOT_IN_CATEGORIES))}."
        )
    return row


def _refuse_repeated(rows: list[_Row], samples: list[Sample]) -> None:
    """Refuses images that are listed again, and masks of one image that others have too."""
    images: dict[Path, _Row] = {}
    owners: dict[Path, tuple[_Row, Sample]] = {}
    for row, sample in zip(rows, samples, strict=True):
        first = images.setdefault(sample.path.resolve(), row)
        if first is not row:
            raise row.error(
                f"'{row['image']}' is listed again, as in {first.where}; keep one of them."
            )
        for mask in sample.masks:
            owner, its = owners.setdefault(mask.resolve(), (row, sample))
            if owner is not row and not _is_coco(mask):
                raise row.error(
                    f"the mask '{mask}' is that of '{its.path}' too, in {owner.where}; give each "
                    "image its own."
                )


def _is_coco(mask: Path) -> bool:
    return is_json(mask) and read_annotations(mask).names_images


def _sample(table: Path, row: _Row) -> Sample:
    label = row["label"].casefold()
    path = _existing(table, row, "image", row["image"])
    if label in _GOOD_LABELS:
        if row["mask"]:
            raise row.error(
                f"the label is '{row['label']}', but the mask '{row['mask']}' marks a defect; "
                "correct one of them."
            )
        return Sample(path, GOOD, group=row["group"])
    if row.split == "train":
        raise row.error(
            f"the label is '{row['label']}' and the split 'train', but only good images are "
            "learned; set the split to 'test'."
        )
    if label not in _DEFECTIVE_LABELS and _is_number(label):
        raise row.error(
            f"label is '{row['label']}', expected 0 or 1, or in words good or the kind of defect."
        )
    names = (name.strip() for name in row["mask"].split("|"))
    masks = tuple(_existing(table, row, "mask", name) for name in names if name)
    for mask in masks:
        if mask.samefile(path):
            raise row.error(f"the mask '{row['mask']}' is the image itself; name its mask.")
        if is_json(mask) and read_annotations(mask) is None:
            raise row.error(f"mask '{mask}' is neither JSON of LabelMe nor of COCO; replace it.")
    defect = DEFECTIVE if label in _DEFECTIVE_LABELS else row["label"]
    return Sample(path, defect, masks, row["group"])


def _existing(table: Path, row: _Row, column: str, name: str) -> Path:
    path = table.parent / name.replace("\\", "/")
    others = (Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD"))
    found = next((one for one in (path, *others) if is_file(one)), None)
    if found is None:
        link = f", a link to '{target}'" if (target := broken_link(path)) else ""
        raise row.error(f"{column} '{name}' does not exist; expected '{path}'{link}.")
    return found


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        float(text)
        return True
    return False


def _named_only(rows: list[_Row], samples: list[Sample]) -> list[Sample]:
    """Leaves out COCO's files that mark nothing in the image of their line."""
    by_file_name: dict[str, list[Path]] = {}
    users: dict[Path, list[Path]] = {}  # of each such file
    for sample in samples:
        by_file_name.setdefault(path_parts(sample.path.name)[-1], []).append(sample.path)
        for mask in sample.masks:
            if _is_coco(mask):
                users.setdefault(mask, []).append(sample.path)
    entries: dict[tuple[Path, Path], Marks] = {}
    for file, images in users.items():
        content = read_annotations(file)
        names = {path_parts(marks.name)[-1] for marks in content.marks}
        alike = [image for name in names for image in by_file_name.get(name, ())]
        rivals = sorted(set(alike) - set(images))
        for image, marks in find_named([content], images, rivals).items():
            entries[image, file] = marks
    result = []
    for row, sample in zip(rows, samples, strict=True):
        masks = []
        for mask in sample.masks:
            if mask not in users:
                masks.append(mask)
            elif (sample.path, mask) not in entries:
                raise row.error(
                    f"mask '{mask.name}' does not name the image '{row['image']}'; correct the "
                    "cell or the file_name in it."
                )
            elif not entries[sample.path, mask].is_empty:
                masks.append(mask)
        result.append(replace(sample, masks=tuple(masks)))
    return result
