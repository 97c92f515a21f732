"""The tree of BTAD: {01,02,03}/{train/ok,test/ok,test/ko,ground_truth/ko}."""

from pathlib import Path

from data.archives import Archive
from data.catalog import Catalog
from data.layouts.tree import category_directory, read_tree

CATEGORIES = ("01", "02", "03")
ARCHIVE = Archive(
    "https://avires.dimi.uniud.it/papers/btad/btad.zip",
    sha256="461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
    licence="CC BY-NC-SA 4.0",
    outer_folder="BTech_Dataset_transformed",
)


def categories(root: Path) -> list[str]:
    """The three products."""
    del root
    return list(CATEGORIES)


def read(root: Path, category: str) -> Catalog:
    """Lists a category.

    Args:
      root: the directory with the categories' folders.
      category: one of ``CATEGORIES``.

    Raises:
      UserError: wrong root, a mask is missing.
    """
    directory = category_directory(root, category, CATEGORIES)
    train, test, ignored = read_tree(directory, good_name="ok")
    return Catalog(category, tuple(train), tuple(test), tuple(ignored))
