"""One entry to all data sets: from a name and a root to catalogs."""

from pathlib import Path

from data import elpv, folder
from data.btad import layout as btad
from data.catalog import Catalog, unknown_name_error
from data.errors import DataError
from data.mvtec_ad import layout as mvtec_ad
from data.visa import layout as visa

READERS = {"folder": folder, "elpv": elpv, "mvtec_ad": mvtec_ad, "visa": visa, "btad": btad}


def read_catalogs(name: str, root: str, category: str, *, held_back: float) -> list[Catalog]:
    """Lists the images of the chosen categories.

    Args:
      name: a key of ``READERS``.
      root: the directory of the images; empty for ELPV, which comes with its package.
      category: one name or several with commas; empty for all.
      held_back: for 'folder', share of the normal images that is kept for testing.

    Returns:
      One catalog a category, in the order asked for.

    Raises:
      DataError: an unknown name or category, a root that is missing or wrong, missing files.
    """
    if name not in READERS:
        raise unknown_name_error("data.name", name, READERS)
    reader = READERS[name]
    if not root and reader is elpv:
        directory = elpv.default_root()
    elif not root:
        raise DataError(
            f"data.root is empty; give the directory of the images of '{name}' with "
            "--config.data.root=DIR."
        )
    else:
        directory = Path(root).expanduser()
        if not directory.is_dir():
            raise DataError(f"data.root is '{root}', which is no directory; give an existing one.")
    valid = reader.categories(directory)
    chosen = [part.strip() for part in category.split(",") if part.strip()] or valid
    options = {"held_back": held_back} if reader is folder else {}
    catalogs = []
    for one in chosen:
        if one not in valid:
            raise unknown_name_error("data.category", one, valid)
        catalogs.append(reader.read(directory, one, **options))
    return catalogs
