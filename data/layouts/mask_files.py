"""Finds the masks of a user's defective images, of every kind and wherever they lie.

The first of these that there is counts:

MASKS/KIND/NAME.*        the same path and stem as the image, with or without '_mask' after it: a
                         picture, or JSON of LabelMe
MASKS/KIND/NAME/*        a folder of them, whose union is the mask
IMAGES/KIND/NAME.json    LabelMe, beside the image
*.json                   COCO, which names its images: among images or masks, in the category's
                         directory or its folder 'annotations', 'ground_truth' or 'masks'
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.annotations import (
    Annotations,
    Marks,
    UnreadableError,
    best_fits,
    common_parts,
    index_marks,
    path_parts,
    read_annotations,
)
from data.catalog import Sample, comparable, find_folder, list_images
from data.masks import is_json
from dtsnet_jax.errors import UserError

_COCO_FOLDERS = ("annotations", "ground_truth", "masks")  # of a category's directory


@dataclass(frozen=True)
class Listing:
    """Where the images of a category lie, and what lies there.

    Attributes:
      root: the category's directory.
      images: the folder that the paths of defective images are relative to.
      masks: the folder that the paths of their masks are relative to, or None.
      good: all good images.
      defective: all defective ones, without masks.
      others: the files among all of these that are no images.
    """

    root: Path
    images: Path
    masks: Path | None
    good: Sequence[Sample]
    defective: Sequence[Sample]
    others: Sequence[Path]


def annotation_folders(root: Path) -> list[Path]:
    """The folders of a category's directory in which COCO's files may lie."""
    return [folder for name in _COCO_FOLDERS if (folder := find_folder(root, name))]


def find_masks(listing: Listing) -> tuple[list[Sample], list[Path], list[str]]:
    """Gives defective images their masks.

    Returns:
      The defective images in the same order, with their masks if they have any; the files that are
      neither images nor masks; and notes on masks that are not used.

    Raises:
      UserError: it is unclear which mask belongs to which image, or JSON cannot be read.
    """
    images = [sample.path for sample in listing.defective]
    files, named, ignored = _list_masks(listing.masks)
    masks = _by_path(images, listing.images, files, listing.masks)
    unused = sorted(set(files) - {path for paths in masks.values() for path in paths})
    beside, found, others = _among_images(listing, [i for i in images if i not in masks])
    masks |= beside
    _refuse_shared(masks)
    around, neither, notes = _around(listing)
    named += found + around
    rest = [image for image in images if image not in masks]
    rivals = [sample.path for sample in listing.good] + list(masks)
    entries = find_named(named, rest, rivals)
    masks |= {image: (marks.file,) for image, marks in entries.items() if not marks.is_empty}
    samples = [replace(s, masks=masks.get(s.path, ())) for s in listing.defective]
    notes += _notes(listing, unused, named, entries)
    return samples, [*ignored, *others, *neither], notes


def find_named(
    files: Sequence[Annotations], images: Sequence[Path], rivals: Sequence[Path]
) -> dict[Path, Marks]:
    """Finds which images COCO's files name.

    An entry belongs to the image whose path has most in common with its name, so that images of the
    same name in several folders are told apart. It does not belong to an image in another of the
    folders than the one it names.

    Args:
      files: contents of files that name their images.
      images: the images to find.
      rivals: other images, which an entry may fit better.

    Returns:
      The entry of each image that is named.

    Raises:
      UserError: several entries fit an image equally well, or an entry several images.
    """
    index, folders = index_marks(files), _folders((*images, *rivals))
    fits = {image: best_fits(index, image) for image in (*images, *rivals)}
    claims: dict[int, tuple[int, list[Path]]] = {}  # of each entry its best fit, and where it is
    for image, (found, length) in fits.items():
        found[:] = [marks for marks in found if _other_folder(marks, image) not in folders]
        for marks in found:
            best, owners = claims.get(id(marks), (0, []))
            if length >= best:
                claims[id(marks)] = length, [*owners, image] if length == best else [image]
    result: dict[Path, Marks] = {}
    for image in images:
        found = fits[image][0]
        if not any(image in claims[id(marks)][1] for marks in found):
            continue
        marks, *more = found
        if more:
            raise UserError(
                f"the image '{image}' is named twice, as '{marks.name}' in '{marks.file}' and as "
                f"'{more[0].name}' in '{more[0].file}'; keep one of them, its file_name with "
                "the image's folder."
            )
        first, *others = claims[id(marks)][1]
        if others:
            raise UserError(
                f"'{marks.name}' in '{marks.file}' may be '{first}' or '{others[0]}'; write "
                "the folder into its file_name."
            )
        result[image] = marks
    return result


def _folders(images: Sequence[Path]) -> set[str]:
    """The names of the folders that tell images apart."""
    around = {image.parent for image in images}
    shared = len(Path(os.path.commonpath(around)).parts) if around else 0
    return {part for folder in around for part in path_parts(str(folder))[shared:]}


def _other_folder(marks: Marks, image: Path) -> str:
    """The folder in an entry's name that is none of its image's; '' if there is none."""
    parts, length = path_parts(marks.name), common_parts(marks, image)
    folder = parts[-length - 1] if len(parts) > length else ""
    return "" if folder in path_parts(str(image)) else folder


def _list_masks(directory: Path | None) -> tuple[list[Path], list[Annotations], list[Path]]:
    """Pictures and files of LabelMe's, what COCO's hold, and the files that are no masks."""
    if directory is None:
        return [], [], []
    files, others = list_images(directory)
    named: list[Annotations] = []
    for path in (path for path in others if is_json(path)):
        content = read_annotations(path)
        if content is None:
            raise UserError(
                f"'{path}' is neither JSON of LabelMe nor of COCO; export it as one of them, or "
                "remove it."
            )
        if content.names_images:
            named.append(content)
        else:
            files.append(path)
    return files, named, [p for p in others if not is_json(p)]


def _by_path(
    images: Sequence[Path], around: Path, files: Sequence[Path], directory: Path
) -> dict[Path, tuple[Path, ...]]:
    """The files whose path, or whose folder's path, is that of an image."""
    by_path: dict[Path, list[Path]] = {}
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        key = comparable(file.relative_to(directory))
        by_path.setdefault(key, []).append(file)
        by_folder.setdefault(key.parent, []).append(file)
    keys = {image: comparable(image.relative_to(around)) for image in images}
    stems = set(keys.values())
    result: dict[Path, tuple[Path, ...]] = {}
    taken: set[Path] = set()
    for image in images:
        found = list(by_path.get(keys[image], ()))
        masked = keys[image].with_name(f"{keys[image].name}_mask")
        if masked not in stems:  # an image of its own
            found += by_path.get(masked, ())
        if len(found) > 1:
            raise UserError(
                f"masks '{found[0]}' and '{found[1]}' belong to the same image; remove one of them."
            )
        if found:
            result[image] = tuple(found)
            taken.update(found)
    for image in images:
        found = [file for file in by_folder.get(keys[image], ()) if file not in taken]
        if found and image not in result:
            result[image] = tuple(found)
    return result


def _among_images(
    listing: Listing, images: Sequence[Path]
) -> tuple[dict[Path, tuple[Path, ...]], list[Annotations], list[Path]]:
    """JSON among the images: masks of images without one, what COCO's files hold, other files."""
    partners = {comparable(image): image for image in images}
    samples = (*listing.good, *listing.defective)
    settled = {comparable(sample.path) for sample in samples} - set(partners)
    jsons = [path for path in listing.others if is_json(path)]
    contents = [read_annotations(path) for path in jsons if comparable(path) not in settled]
    named = [content for content in contents if content and content.names_images]
    outlines = [content.path for content in contents if content and not content.names_images]
    result = {
        partners[comparable(path)]: (path,) for path in outlines if comparable(path) in partners
    }
    used = {path for paths in result.values() for path in paths}
    used.update(content.path for content in named)
    return result, named, [path for path in listing.others if path not in used]


def _around(listing: Listing) -> tuple[list[Annotations], list[Path], list[str]]:
    """What COCO's files in the category's directory hold, the other JSON, and notes on it."""
    folders = {listing.root, listing.images, *annotation_folders(listing.root)}
    paths = [
        path
        for folder in sorted(folders - {listing.masks})
        for path in sorted(folder.iterdir())
        if is_json(path) and path not in listing.others and not path.name.startswith(".")
    ]
    named, neither, notes = [], [], []
    for path in paths:
        try:
            content = read_annotations(path)
        except UnreadableError as error:  # the settings of some program, say
            content = None
            notes.append(f"not used: {error}")
        if content and content.names_images:
            named.append(content)
        else:
            neither.append(path)
    return named, neither, notes


def _refuse_shared(masks: dict[Path, tuple[Path, ...]]) -> None:
    owners: dict[Path, Path] = {}
    for image, paths in masks.items():
        for path in paths:
            if path in owners:
                raise UserError(
                    f"mask '{path}' may belong to '{owners[path]}' or to '{image}', which differ "
                    "in their suffix only; give one of them another name."
                )
            owners[path] = image


def _notes(
    listing: Listing,
    unused: Sequence[Path],
    named: Sequence[Annotations],
    entries: dict[Path, Marks],
) -> list[str]:
    notes = []
    if unused:
        notes.append(
            f"masks: {len(unused)} files belong to no defective image (first: {unused[0]}); a mask "
            f"has the path that its image has below '{listing.images}'"
        )
    alike = [
        f"'{marks.name}' in '{marks.file}' for '{image}'"
        for image, marks in entries.items()
        if common_parts(marks, image) == 1 and _other_folder(marks, image)
    ]
    if alike:
        notes.append(
            f"masks: {len(alike)} images were matched by their file names only (first: {alike[0]})"
        )
    used = {marks.file for marks in entries.values()}
    for content in named:
        if content.path not in used:
            first = f"for example '{content.marks[0].name}'" if content.marks else "none"
            notes.append(f"masks: '{content.path}' is used for no image; it names {first}")
    return notes
