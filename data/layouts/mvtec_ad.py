"""The tree of MVTec AD: CATEGORY/{train,test}/KIND/000.png, ground_truth/KIND/000_mask.png."""

from pathlib import Path

from data.archives import Archive
from data.catalog import Catalog
from data.layouts.tree import category_directory, read_tree

TEXTURES = ("carpet", "grid", "leather", "tile", "wood")
OBJECTS = (
    "bottle", "cable", "capsule", "hazelnut", "metal_nut", "pill", "screw", "toothbrush",
    "transistor", "zipper",
)  # fmt: skip
CATEGORIES = TEXTURES + OBJECTS
ARCHIVE = Archive(
    "https://www.mydrive.ch/shares/38536/3830184030e49fe74747669442f0f282/download/"
    "420938113-1629952094/mvtec_anomaly_detection.tar.xz",
    sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
    licence="CC BY-NC-SA 4.0",
)


def categories(root: Path) -> list[str]:
    """All 15 categories, textures first."""
    del root
    return list(CATEGORIES)


def read(root: Path, category: str) -> Catalog:
    """Lists a category.

    Args:
      root: the extracted archive.
      category: one of ``CATEGORIES``.

    Raises:
      UserError: wrong root, a mask is missing.
    """
    directory = category_directory(root, category, CATEGORIES)
    train, test, ignored = read_tree(directory, good_name="good", mask_suffix="_mask")
    return Catalog(
        category, tuple(train), tuple(test), tuple(ignored), texture=category in TEXTURES
    )
