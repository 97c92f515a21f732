"""The region of interest: the part of photographs that is looked at."""

from collections.abc import Sequence
from pathlib import Path

from data.catalog import is_file, is_folder
from data.matching import match_by_name
from dtsnet_jax.errors import UserError


def region_files(images: Sequence[Path], region: str) -> list[Path] | None:
    """Finds the mask of the region of interest of each image; outside it nothing is looked at.

    Args:
      images: the files.
      region: one mask for all images of a fixed camera, or a directory as in
        ``match_by_name``; '' for everything.

    Returns:
      A file an image, or None.

    Raises:
      UserError: there is no such file or directory, or an image has no mask or several.
    """
    if not region:
        return None
    path = Path(region).expanduser()
    if is_file(path):
        return [path] * len(images)
    if not is_folder(path):
        raise UserError(
            f"data.region is '{region}', which does not exist; give a mask for all images, a "
            "directory with a mask for each, or nothing."
        )
    return match_by_name(images, path, what="region of interest")
