"""What the trees of the published data sets have in common: splits, kinds of defect, masks."""

from pathlib import Path

from data.catalog import DEFECTIVE, GOOD, Sample, is_folder, list_images, subfolders
from dtsnet_jax.errors import UserError


def category_directory(root: Path, category: str, categories: tuple[str, ...]) -> Path:
    """Returns the directory of a category.

    Raises:
      UserError: it is missing; the message says whether ``root`` is too deep or too shallow.
    """
    directory = root / category
    if is_folder(directory):
        return directory
    advice = "give the directory that holds the categories' folders."
    if root.name in categories:
        advice = f"give its parent '{root.resolve().parent}' instead."
    elif inside := sorted(path.parent for path in root.glob(f"*/{category}") if is_folder(path)):
        advice = f"did you mean '{inside[0]}'?"
    raise UserError(f"data.root is '{root}', which has no folder '{category}'; {advice}")


def read_tree(
    directory: Path, *, good_name: str, mask_suffix: str = ""
) -> tuple[list[Sample], list[Sample], list[Path]]:
    """Lists train/GOOD, test/GOOD, test/KIND with masks in ground_truth/KIND.

    Args:
      directory: a category's directory.
      good_name: the folder of good images.
      mask_suffix: what a mask's stem has after its image's stem.

    Returns:
      Training samples, test samples, and the files that are no images.

    Raises:
      UserError: a folder is missing or a defective image has no mask.
    """
    paths, ignored = list_images(directory / "train" / good_name)
    train = [Sample(path) for path in paths]
    test = []
    for kind in subfolders(_existing(directory / "test")):
        paths, others = list_images(kind)
        ignored += others
        if kind.name == good_name:
            test += [Sample(path) for path in paths]
            continue
        masks = _masks_by_stem(directory / "ground_truth" / kind.name)
        defect = DEFECTIVE if kind.name == GOOD else kind.name
        for path in paths:
            mask = masks.get(path.stem + mask_suffix)
            if mask is None:
                raise UserError(
                    f"defective image '{path}' has no mask "
                    f"'{directory / 'ground_truth' / kind.name / path.stem}{mask_suffix}.png'; "
                    "extract the data set again."
                )
            test.append(Sample(path, defect, (mask,)))
    return train, test, ignored


def _masks_by_stem(directory: Path) -> dict[str, Path]:
    return {path.stem: path for path in list_images(_existing(directory))[0]}


def _existing(directory: Path) -> Path:
    if not is_folder(directory):
        raise UserError(f"'{directory}' does not exist; extract the data set again.")
    return directory
