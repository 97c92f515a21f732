"""Any user's own images: recognises which layout lies under the root, a module for each.

a table (CSV) of images     ``data.layouts.table``
normal/, defective/         ``data.layouts.own``
train/good, test/KIND       ``data.layouts.train_test``
folders of the latter two   a category each
"""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

from data.catalog import ALL, Catalog, is_file, subfolders
from data.layouts import own, table, train_test
from dtsnet_jax.errors import UserError


def categories(root: Path) -> list[str]:
    """The categories that lie under a root, named after their folders.

    Args:
      root: a table, a category's folder, or a folder of categories' folders.

    Raises:
      UserError: no layout is recognised.
    """
    return table.categories(root) if is_file(root) else list(_folders(root))


def read(root: Path, category: str, *, held_back: float, held_back_by: str) -> Catalog:
    """Lists a user's own images.

    Args:
      root: as for ``categories``.
      category: one of ``categories``.
      held_back: share of the good images, from 0 to below 1, that is held back where the layout
        does not say what is for testing.
      held_back_by: how these are chosen, see ``data.holdback``.

    Raises:
      UserError: as the layout's own ``read``.
    """
    options = {"held_back": held_back, "held_back_by": held_back_by}
    if is_file(root):
        return table.read(root, category, **options)
    folders = _folders(root)
    if _tree_in(folders[category]) is train_test:
        catalog = train_test.read(folders[category], category)
    else:
        catalog = own.read(folders[category], category, **options)
    beside = [f.name for f in subfolders(root) if f not in folders.values()]
    if folders[category] != root and beside:
        note = f"not used: {', '.join(beside)} in '{root}', in which no category was recognised"
        catalog = replace(catalog, notes=(*catalog.notes, note))
    return catalog


def _tree_in(directory: Path) -> ModuleType | None:
    """The layout that lies in a directory.

    Raises:
      UserError: both do.
    """
    trees = [tree for tree in (own, train_test) if tree.is_category(directory)]
    if len(trees) > 1:
        raise UserError(
            f"'{directory}' holds 'normal' and 'train/good'; keep one of them, or move it into a "
            "directory of its own."
        )
    return trees[0] if trees else None


def _folders(root: Path) -> dict[str, Path]:
    """The folders of the categories by their names."""
    if _tree_in(root):
        return {root.resolve().name or "parts": root}  # a disk has no name
    inside = {folder.name: folder for folder in subfolders(root) if _tree_in(folder)}
    if not inside:
        raise UserError(f"data.root is '{root}', {_explain(root)}")
    for name, folder in inside.items():
        if name == ALL or "," in name:
            raise UserError(
                f"the category '{folder}' is called '{name}', expected a name without ',' that is "
                f"not '{ALL}'; rename its folder."
            )
    return inside


def _explain(root: Path) -> str:
    """What is wrong with a root under which no layout is recognised, and what to do."""
    around = next((d for d in list(root.resolve().parents)[:3] if _tree_in(d)), None)
    if around:
        return f"which is a part of a layout; give its parent '{around}' instead."
    unknown = "which has neither a folder 'normal' nor 'train/good'"
    tables = sorted(f for f in root.iterdir() if f.suffix.lower() in (".csv", ".tsv"))
    near = sorted(d.parent for d in root.glob("*/*") if _tree_in(d)) or tables
    if near:
        return f"{unknown}; did you mean '{near[0]}'?"
    holds = ", ".join(f"'{folder.name}'" for folder in subfolders(root)[:5]) or "none"
    return (
        f"{unknown} but the folders: {holds}; put photographs of good parts into "
        f"'{root / 'normal'}', or list them in a table."
    )
