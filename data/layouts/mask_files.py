"""Finds the masks of a user's defective images, of every kind and wherever they lie.

The first of these that there is counts:

MASKS/KIND/NAME.*        the same path and stem as the image, with or without '_mask' after it: a
                         picture, or JSON of LabelMe
MASKS/KIND/NAME/*        a folder of them, whose union is the mask
IMAGES/KIND/NAME.json    LabelMe, beside the image
*.json                   COCO, which names its images: among images or masks, in the category's
                         directory or its folder 'annotations', 'ground_truth' or 'masks'
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from data.annotations import Annotations, Marks, UnreadableError, common_parts, read_annotations
from data.catalog import Sample, comparable, find_folder, list_images
from data.layouts.named import find_named, other_folder
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
    """The folders of a category's directory in which COCO's files may lie and JSON does."""
    folders = (find_folder(root, name) for name in _COCO_FOLDERS)
    return [folder for folder in folders if folder and _jsons(folder)]


def _jsons(folder: Path) -> list[Path]:
    with suppress(OSError):  # one that may not be read is named where nothing of it is used
        return sorted(p for p in folder.iterdir() if is_json(p) and not p.name.startswith("."))
    return []


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
    images: Sequence[Path], around: Path, files: Sequence[Path], directory: Path | None
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
        for path in _jsons(folder)
        if path not in listing.others
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
        if common_parts(marks, image) == 1 and other_folder(marks, 1)
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
