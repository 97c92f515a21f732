"""ELPV: 2,624 electroluminescence photographs of solar cells (Buerhop-Lux et al., 2018).

The images come with the package ``elpv-dataset`` (CC BY-NC-SA 4.0, non-commercial). Each cell has
the probability with which it is defective: 0, 1/3, 2/3 or 1; there are no masks. The good cells
are those of probability 0, the defective ones those of probability 1; cells in between are not
used. Some of the good cells are held back for testing.
"""

import importlib.util
from pathlib import Path

from data.catalog import DEFECTIVE, Catalog, Sample, by_name, is_file
from data.holdback import hold_back
from dtsnet_jax.errors import UserError

DISJOINT_CATEGORIES = ("mono", "poly")
CATEGORIES = (*DISJOINT_CATEGORIES, "both")
LICENCE = "CC BY-NC-SA 4.0"


def categories(root: Path) -> list[str]:
    """Monocrystalline, polycrystalline, and both together."""
    del root
    return list(CATEGORIES)


def default_root() -> Path:
    """The directory of the installed package's data.

    Raises:
      UserError: the package is not installed.
    """
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise UserError(
            "the package 'elpv-dataset' is not installed; run "
            "`pip install -r requirements-demo.txt`."
        )
    return Path(spec.origin).parent / "data"


def read(root: Path, category: str, *, held_back: float, held_back_by: str) -> Catalog:
    """Lists the cells of one kind.

    Args:
      root: the directory with 'labels.csv' and 'images/'.
      category: 'mono', 'poly' or 'both'.
      held_back: share of the good cells, from 0 to below 1, that is held back.
      held_back_by: how these are chosen, see ``data.holdback``; the cells have no groups.

    Raises:
      UserError: the labels cannot be read.
    """
    labels = root / "labels.csv"
    if not is_file(labels):
        raise UserError(f"'{labels}' does not exist; data.root is ELPV's folder with 'labels.csv'.")
    good, defective = [], []
    for number, line in enumerate(labels.read_text().splitlines(), start=1):
        try:
            name, probability, kind = line.split()
            probability = float(probability)
        except ValueError as error:
            raise UserError(
                f"'{labels}', line {number}: found '{line}', expected file, probability and kind; "
                "install the package 'elpv-dataset' again."
            ) from error
        if category in (kind, "both"):
            if probability == 0.0:
                good.append(Sample(root / name))
            elif probability == 1.0:
                defective.append(Sample(root / name, DEFECTIVE))
    good = by_name(good, lambda sample: sample.path.name)
    train, test = hold_back(good, held_back, held_back_by)
    return Catalog(category, tuple(train), (*test, *defective))
