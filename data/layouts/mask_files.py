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
from dataclasses import dataclass, replace
from pathlib import Path

from data.annotations import Annotations, Marks, read_annotations
from data.catalog import Sample, list_images
from data.masks import ANNOTATION_SUFFIX
from dtsnet_jax.errors import UserError

_COCO_FOLDERS = ("", "annotations", "ground_truth", "masks")  # of a category's directory


@dataclass(frozen=True)
class Listing:
    """Where the images of a category lie, and what lies there.

    Attributes:
      root: the category's directory.
      images: the folder that the paths of defective images are relative to.
      masks: the folder that the paths of their masks are relative to; it need not exist.
      good: all good images.
      defective: all defective ones, without masks.
      others: the files among all of these that are no images.
    """

    root: Path
    images: Path
    masks: Path
    good: Sequence[Sample]
    defective: Sequence[Sample]
    others: Sequence[Path]


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
    around, neither = _around(listing)
    named += found + around
    rest = [image for image in images if image not in masks]
    rivals = [sample.path for sample in listing.good] + list(masks)
    masks |= {image: (path,) for image, path in find_named(named, rest, rivals).items()}
    samples = [replace(s, masks=masks.get(s.path, ())) for s in listing.defective]
    notes = _notes(listing, unused, named, {path for paths in masks.values() for path in paths})
    return samples, [*ignored, *others, *neither], notes


def find_named(
    files: Sequence[Annotations], images: Sequence[Path], rivals: Sequence[Path]
) -> dict[Path, Path]:
    """Finds which images COCO's files name.

    An entry belongs to the image whose path has most in common with its name, so that images of the
    same name in several folders are told apart.

    Args:
      files: contents of files that name their images.
      images: the images to find.
      rivals: other images, which an entry may fit better.

    Returns:
      The file of each image that is named.

    Raises:
      UserError: several entries fit an image equally well, or an entry several images.
    """
    fits = {image: _best_fits(files, image) for image in (*images, *rivals)}
    claims: dict[int, int] = {}  # of each entry the length of its best fit
    for found, length in fits.values():
        for _, marks in found:
            claims[id(marks)] = max(length, claims.get(id(marks), 0))
    result: dict[Path, Path] = {}
    owners: dict[int, Path] = {}
    for image in images:
        found, length = fits[image]
        if not any(claims[id(marks)] == length for _, marks in found):
            continue
        (file, marks), *more = found
        if more:
            raise UserError(
                f"the image '{image}' is named twice, as '{marks.name}' in '{file.path}' and as "
                f"'{more[0][1].name}' in '{more[0][0].path}'; keep one of them, its file_name with "
                "the image's folder."
            )
        if id(marks) in owners:
            raise UserError(
                f"'{marks.name}' in '{file.path}' may be '{owners[id(marks)]}' or '{image}'; write "
                "the folder into its file_name."
            )
        owners[id(marks)], result[image] = image, file.path
    return result


def _best_fits(
    files: Sequence[Annotations], image: Path
) -> tuple[list[tuple[Annotations, Marks]], int]:
    found = [(file, *file.fitting(image)) for file in files]
    best = max((length for *_, length in found), default=0)
    return [(f, marks) for f, fitting, length in found if length == best for marks in fitting], best


def _list_masks(directory: Path) -> tuple[list[Path], list[Annotations], list[Path]]:
    """Pictures and files of LabelMe's, what COCO's hold, and the files that are no masks."""
    if not directory.is_dir():
        return [], [], []
    files, others = list_images(directory)
    named: list[Annotations] = []
    for path in (path for path in others if path.suffix.lower() == ANNOTATION_SUFFIX):
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
    return files, named, [p for p in others if p.suffix.lower() != ANNOTATION_SUFFIX]


def _by_path(
    images: Sequence[Path], around: Path, files: Sequence[Path], directory: Path
) -> dict[Path, tuple[Path, ...]]:
    """The files whose path, or whose folder's path, is that of an image."""
    by_path: dict[Path, list[Path]] = {}
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        key = file.relative_to(directory).with_suffix("")
        by_path.setdefault(key.with_name(key.name.removesuffix("_mask")), []).append(file)
        by_folder.setdefault(key.parent, []).append(file)
    keys = {image: image.relative_to(around).with_suffix("") for image in images}
    result: dict[Path, tuple[Path, ...]] = {}
    taken: set[Path] = set()
    for image in images:
        found = by_path.get(keys[image], [])
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
    jsons = {path for path in listing.others if path.suffix.lower() == ANNOTATION_SUFFIX}
    partner = {image.with_suffix(ANNOTATION_SUFFIX) for image in images}
    samples = (*listing.good, *listing.defective)
    settled = {sample.path.with_suffix(ANNOTATION_SUFFIX) for sample in samples} - partner
    contents = {path: read_annotations(path) for path in jsons - settled}
    outlines = {path for path, content in contents.items() if content and not content.names_images}
    result = {
        image: (path,)
        for image in images
        if (path := image.with_suffix(ANNOTATION_SUFFIX)) in outlines
    }
    used = {path for paths in result.values() for path in paths}
    named = [content for content in contents.values() if content and content.names_images]
    used.update(content.path for content in named)
    return result, named, [path for path in listing.others if path not in used]


def _around(listing: Listing) -> tuple[list[Annotations], list[Path]]:
    """What COCO's files in the category's directory hold, and the other JSON there."""
    folders = [listing.root / name for name in _COCO_FOLDERS]
    paths = [
        path
        for folder in folders
        if folder != listing.masks
        for path in sorted(folder.glob(f"*{ANNOTATION_SUFFIX}"))
        if not path.name.startswith(".")
    ]
    contents = {path: read_annotations(path) for path in paths}
    named = [content for content in contents.values() if content and content.names_images]
    kept = {content.path for content in named}
    return named, [path for path in paths if path not in kept]


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
    listing: Listing, unused: Sequence[Path], named: Sequence[Annotations], used: set[Path]
) -> list[str]:
    notes = []
    if unused:
        notes.append(
            f"masks: {len(unused)} files belong to no defective image (first: {unused[0]}); a mask "
            f"has the path that its image has below '{listing.images}'"
        )
    for content in named:
        if content.path not in used:
            first = f"for example '{content.marks[0].name}'" if content.marks else "none"
            notes.append(f"masks: '{content.path}' is used for no image; it names {first}")
    return notes
