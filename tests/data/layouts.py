"""Every kind of mask, and every layout that a user's images may have."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from data.catalog import Catalog
from data.readers import read_catalogs
from tests.helpers import photograph
from tests.miniature import save

SHAPE = (40, 48)  # of all images
BOXES = {  # left, top, right and bottom of each defect; both images have the same name
    Path("scratch/001"): (12, 10, 20, 22),
    Path("dent/001"): (30, 5, 44, 9),
}


def marked(box: tuple[int, int, int, int]) -> np.ndarray:
    """A box as a mask, (h, w) bool."""
    left, top, right, bottom = box
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask


def read_all(root: Path, category: str = "", *, held_back=0.2, by="spread") -> list[Catalog]:
    """The catalogs of a user's images."""
    return read_catalogs("folder", str(root), category, held_back=held_back, held_back_by=by)


def read(root: Path, category: str = "", **options) -> Catalog:
    """The only catalog."""
    (catalog,) = read_all(root, category, **options)
    return catalog


def palette(mask: np.ndarray) -> Image.Image:
    """Index 0 is a colour, index 3 is black."""
    image = Image.fromarray(np.where(mask, 0, 3).astype(np.uint8), "P")
    image.putpalette([200, 10, 30, 1, 1, 1, 2, 2, 2, 0, 0, 0])
    return image


def with_alpha(mode: str, mask: np.ndarray, colour: int | tuple) -> Image.Image:
    """One colour everywhere; what is marked is opaque."""
    image = Image.new(mode, SHAPE[::-1], colour)
    image.putalpha(Image.fromarray(mask.astype(np.uint8) * 255))
    return image


def colour(mask: np.ndarray, mode: str = "RGB") -> Image.Image:
    """Red on black, opaque."""
    values = np.zeros((*SHAPE, 3), np.uint8)
    values[mask, 0] = 130
    return Image.fromarray(values).convert(mode)


PICTURES: dict[str, tuple[str, Callable[[np.ndarray], Image.Image]]] = {
    "grey": (".png", lambda m: Image.fromarray(m.astype(np.uint8) * 255)),
    "class numbers": (".bmp", lambda m: Image.fromarray(m.astype(np.uint8) * 3)),
    "1 bit": (".pbm", Image.fromarray),
    "16 bit": (".tif", lambda m: Image.fromarray(m.astype(np.uint16))),
    "16 bit PGM": (".pgm", lambda m: Image.fromarray(m.astype(np.uint16) * 40000)),
    "RGB": (".png", colour),
    "palette": (".png", palette),
    "alpha of black": (".png", lambda m: with_alpha("RGB", m, (0, 0, 0))),
    "alpha of grey": (".png", lambda m: with_alpha("L", m, 90)),
    "opaque alpha": (".png", lambda m: colour(m, "RGBA")),
    "WebP": (".webp", lambda m: Image.fromarray(m.astype(np.uint8) * 255)),
    "JPEG": (".jpg", lambda m: Image.fromarray(m.astype(np.uint8) * 255)),
    "JPEG 2000": (".jp2", lambda m: Image.fromarray(m.astype(np.uint8) * 255)),
}


def corners(box: tuple[int, int, int, int]) -> list[list[float]]:
    """Of a box, clockwise."""
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def labelme(image: str, *shapes: dict, size: tuple[int, int] = SHAPE[::-1]) -> str:
    """What LabelMe writes."""
    width, height = size
    facts = {"imagePath": image, "imageData": "AAAA", "imageHeight": height, "imageWidth": width}
    return json.dumps({"version": "5.5.0", "flags": {}, "shapes": shapes} | facts)


def shape(kind: str, points: list, **more) -> dict:
    """One shape of LabelMe's."""
    return {"label": "x", "points": points, "shape_type": kind, "flags": {}} | more


def labelme_bitmap(box: tuple[int, int, int, int]) -> dict:
    """A shape that is a picture between two corners."""
    left, top, right, bottom = box
    buffer = io.BytesIO()
    Image.new("L", (right - left, bottom - top), 1).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return shape("mask", [[left, top], [right - 1, bottom - 1]], mask=data)


SHAPES = {
    "polygon": lambda box: shape("polygon", corners(box)),
    "rectangle": lambda box: shape("rectangle", [corners(box)[2], corners(box)[0]]),
    "bitmap": labelme_bitmap,
}


def _flat(box):
    return [value for point in corners(box) for value in point]


def _runs(box) -> list[int]:
    flat = np.concatenate([[0], marked(box).T.ravel().astype(int)])
    changes = np.flatnonzero(np.diff(flat))
    return np.diff([0, *changes, flat.size - 1]).tolist()


def _compressed(box) -> str:
    return coco.encode(np.asfortranarray(marked(box), np.uint8))["counts"].decode()


SEGMENTS = {
    "polygon": lambda box: {"segmentation": [_flat(box)]},
    "runs": lambda box: {"segmentation": {"size": SHAPE, "counts": _runs(box)}},
    "compressed runs": lambda box: {"segmentation": {"size": SHAPE, "counts": _compressed(box)}},
    "box": lambda box: {
        "segmentation": [],
        "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
    },
}


def coco_file(boxes: dict[str, tuple], segments: str = "polygon") -> str:
    """What names its images and marks a box in each."""
    width, height = SHAPE[::-1]
    images = [
        {"id": 7 + i, "file_name": name, "width": width, "height": height}
        for i, name in enumerate(boxes)
    ]
    annotations = [
        {"id": i, "image_id": 7 + i, "category_id": 1, "iscrowd": 0} | SEGMENTS[segments](box)
        for i, box in enumerate(boxes.values())
    ]
    return json.dumps({"images": images, "annotations": annotations, "categories": []})


def write(path: Path, text: str) -> Path:
    """Writes a text; its directory is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


class Layout:
    """Ten good images, two defective ones of the same name, and where their masks go.

    Attributes:
      root: what data.root is to be.
      images: the defective images by the keys of ``BOXES``.
    """

    good, bad, truth, suffix = "normal", "defective", "masks", ""

    def __init__(self, directory: Path):
        self.root = self.directory = directory
        for index in range(10):
            save(photograph(index), directory / self.good / f"{index:03}.png")
        self.images = {key: self.image(key) for key in BOXES}
        for index, path in enumerate(self.images.values()):
            save(photograph(100 + index), path)

    def image(self, key: Path) -> Path:
        return self.directory / self.bad / key.with_suffix(".png")

    def mask(self, key: Path, suffix: str) -> Path:
        return self.directory / self.truth / key.with_name(f"{key.name}{self.suffix}{suffix}")

    def finish(self, masks: dict[Path, list[Path]]) -> None:
        """Called with the files of the masks when they are written."""


class Own(Layout):
    pass


class MvtecAd(Layout):
    good, bad, truth, suffix = "train/good", "test", "ground_truth", "_mask"


class MvtecNamed(MvtecAd):
    suffix = ""


class MvtecAd2(Layout):
    good, bad, truth, suffix = "train/good", "test_public", "test_public/ground_truth", "_mask"


class Table(Layout):
    good, bad, truth = "pictures/fine", "pictures", "elsewhere"

    def finish(self, masks):
        lines = ["label;image;mask"]
        good = sorted((self.directory / self.good).iterdir())
        lines += [f"good;{path.relative_to(self.directory)};" for path in good]
        for key, image in self.images.items():
            cell = "|".join(str(path.relative_to(self.directory)) for path in masks[key])
            lines.append(f"{key.parent};{image.relative_to(self.directory)};{cell}")
        self.root = write(self.directory / "table.csv", "\n".join(lines))


LAYOUTS = (Own, MvtecAd, MvtecNamed, MvtecAd2, Table)
