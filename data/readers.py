"""One entry to all data sets: from a name and a root to catalogs."""

from dataclasses import replace
from pathlib import Path

from data.archives import download_directory, find_tree
from data.catalog import ALL, Catalog, is_file, is_folder
from data.layouts import btad, elpv, folder, mvtec_ad, table, visa
from dtsnet_jax.errors import UserError, unknown_name

READERS = {"folder": folder, "elpv": elpv, "mvtec_ad": mvtec_ad, "visa": visa, "btad": btad}
PUBLISHED = (mvtec_ad, visa, btad)  # as archives


def read_catalogs(
    name: str, root: str, category: str, *, held_back: float, held_back_by: str
) -> list[Catalog]:
    """Lists the images of the chosen categories.

    Args:
      name: a key of ``READERS``.
      root: the directory of the images, their table, or the directory of a data set's archive;
        empty for ELPV, which comes with its package, and for data sets that shall be downloaded.
      category: one name or several with commas; empty or 'all' for all (of ELPV's, 'all' leaves out
        'both', which holds the images of the others).
      held_back: for 'folder' and 'elpv', share of the good images that is kept for testing.
      held_back_by: how these are chosen, see ``data.holdback``.

    Returns:
      One catalog a category, in the order asked for.

    Raises:
      UserError: an unknown name or category, a root that is missing or wrong, missing files.
    """
    if name not in READERS:
        raise unknown_name("data.name", name, READERS)
    reader = READERS[name]
    if reader in PUBLISHED and category != ALL:  # refused before anything is downloaded
        _chosen(category, list(reader.CATEGORIES))
    if category == ALL:
        category = ",".join(elpv.DISJOINT_CATEGORIES) if reader is elpv else ""
    directory = _find_root(name, root)
    chosen = _chosen(category, reader.categories(directory))
    options = {"held_back": held_back, "held_back_by": held_back_by}
    options = {} if reader in PUBLISHED else options
    catalogs, said = [], set()
    for one in chosen:
        catalog = reader.read(directory, one, **options)
        notes = tuple(note for note in catalog.notes if note not in said)
        catalogs.append(replace(catalog, notes=notes))
        said.update(notes)
    return catalogs


def images_licence(name: str) -> str:
    """The licence of a data set's images.

    Args:
      name: a key of ``READERS``.
    """
    reader = READERS[name]
    if reader is folder:
        return "your own"
    return reader.ARCHIVE.licence if reader in PUBLISHED else reader.LICENCE


def _chosen(category: str, valid: list[str]) -> list[str]:
    chosen = [part.strip() for part in category.split(",") if part.strip()] or valid
    for one in chosen:
        if one not in valid:
            raise unknown_name("data.category", one, valid)
    return chosen


def _find_root(name: str, root: str) -> Path:
    reader = READERS[name]
    if not root and reader is elpv:
        return elpv.default_root()
    if not root and reader not in PUBLISHED:
        raise UserError(
            f"data.root is empty; give the directory of the images of '{name}' (or their table) "
            "with --config.data.root=DIR."
        )
    directory = Path(root).expanduser() if root else download_directory()
    if reader is folder and is_file(directory):
        return _check_table(directory)
    if root and not is_folder(directory):
        raise UserError(f"data.root is '{root}', which is no directory; give an existing one.")
    if reader in PUBLISHED:
        return find_tree(reader.CATEGORIES, reader.ARCHIVE, directory, fetch=not root)
    return directory


def _check_table(path: Path) -> Path:
    if path.suffix.lower() not in table.SUFFIXES:
        raise UserError(
            f"data.root is '{path}', a file that is no table; give a directory, or save the table "
            "as CSV."
        )
    return path
