"""Miniatures of the published data sets, with their real names, formats, modes and quirks.

python -m tests.miniature DIR      writes DIR/{mvtec_ad,visa,visa_arranged,btad,textures}
"""

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

SIZE = 96  # pixels; the real images have 700 to 1,600
TRAIN, TEST_GOOD, DEFECTIVE = 6, 2, 3  # images a category
VISA_ASPECT = (72, 108)


def surface(seed: int, shape: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """A woven texture, (h, w) uint8."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    weave = 30 * np.sin(x / 2.5) * np.sin(y / 2.5)
    noise = np.random.default_rng(seed).normal(0, 12, shape)
    return np.clip(120 + weave + noise, 0, 255).astype(np.uint8)


def part(seed: int, shape: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """A dark round part on a bright background, (h, w) uint8."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    centre = np.array(shape) / 2 + generator.uniform(-3, 3, 2)
    radius = np.hypot(y - centre[0], x - centre[1])
    image = np.where(radius < 0.35 * min(shape), 70 + 20 * np.cos(radius / 4), 225)
    return np.clip(image + generator.normal(0, 4, shape), 0, 255).astype(np.uint8)


def defect(image: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Adds a blot near the centre; returns the image and (h, w) bool."""
    generator = np.random.default_rng(1000 + seed)
    mask = np.zeros(image.shape, bool)
    y, x = np.array(image.shape) // 2 + generator.integers(-10, 10, 2)
    mask[y - 6 : y + 6, x - 4 : x + 8] = True
    mask = ndimage.rotate(mask.astype(float), 30, reshape=False) > 0.5
    return np.where(mask, 255 - image, image), mask


def rgb(gray: np.ndarray) -> Image.Image:
    tint = np.array([1.0, 0.9, 0.75])
    return Image.fromarray((gray[..., None] * tint).astype(np.uint8))


def save(image: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def write_mvtec(root: Path) -> None:
    """bottle (RGB object), carpet (RGB texture), grid (grey texture)."""
    for category, draw, convert in (
        ("bottle", part, rgb),
        ("carpet", surface, rgb),
        ("grid", surface, Image.fromarray),
    ):
        base = root / category
        for index in range(TRAIN):
            save(convert(draw(index)), base / "train" / "good" / f"{index:03}.png")
        for index in range(TEST_GOOD):
            save(convert(draw(50 + index)), base / "test" / "good" / f"{index:03}.png")
        for index in range(DEFECTIVE):
            kind = "hole" if index else "thread"
            image, mask = defect(draw(80 + index), index)
            save(convert(image), base / "test" / kind / f"{index:03}.png")
            mask_path = base / "ground_truth" / kind / f"{index:03}_mask.png"
            save(Image.fromarray(mask.astype(np.uint8) * 255), mask_path)
        (base / "license.txt").write_text("CC BY-NC-SA 4.0")


def write_visa(root: Path) -> None:
    """candle and pcb1 as published: JPEG with upper-case suffix, masks of class numbers."""
    rows = []
    for category in ("candle", "pcb1"):
        data = Path(category) / "Data"
        for index in range(TRAIN + TEST_GOOD):
            name = data / "Images" / "Normal" / f"{index:04}.JPG"
            save(rgb(part(index, VISA_ASPECT)), root / name)
            split = "train" if index < TRAIN else "test"
            rows.append((category, split, "normal", name.as_posix(), ""))
        for index in range(DEFECTIVE):
            name = data / "Images" / "Anomaly" / f"{index:03}.JPG"
            mask_name = data / "Masks" / "Anomaly" / f"{index:03}.png"
            image, mask = defect(part(80 + index, VISA_ASPECT), index)
            save(rgb(image), root / name)
            save(Image.fromarray(mask.astype(np.uint8) * (index + 1)), root / mask_name)
            rows.append((category, "test", "anomaly", name.as_posix(), mask_name.as_posix()))
    table = root / "split_csv" / "1cls.csv"
    table.parent.mkdir(parents=True)
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("object", "split", "label", "image", "mask"))
        writer.writerows(rows)


def arrange_visa(raw: Path, root: Path) -> None:
    """Copies the published tree into train/good, test/good, test/bad, ground_truth/bad."""
    with (raw / "split_csv" / "1cls.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            kind = "bad" if row["label"] == "anomaly" else "good"
            base = root / row["object"]
            copies = [(row["image"], base / row["split"] / kind)]
            if row["mask"]:
                copies.append((row["mask"], base / "ground_truth" / kind))
            for source, directory in copies:
                directory.mkdir(parents=True, exist_ok=True)
                shutil.copy(raw / source, directory)


def write_btad(root: Path) -> None:
    """01 (BMP, PNG masks), 02 (PNG) and 03 (BMP, BMP masks), sizes that differ."""
    for category, suffix, mask_suffix, shape in (
        ("01", "bmp", "png", (SIZE, SIZE)),
        ("02", "png", "png", (60, 60)),
        ("03", "bmp", "bmp", (80, 60)),
    ):
        base = root / "BTech_Dataset_transformed" / category
        for index in range(TRAIN):
            save(rgb(part(index, shape)), base / "train" / "ok" / f"{index:04}.{suffix}")
        for index in range(TEST_GOOD):
            save(rgb(part(50 + index, shape)), base / "test" / "ok" / f"{index:04}.{suffix}")
        for index in range(DEFECTIVE):
            image, mask = defect(part(80 + index, shape), index)
            save(rgb(image), base / "test" / "ko" / f"{index:04}.{suffix}")
            mask_path = base / "ground_truth" / "ko" / f"{index:04}.{mask_suffix}"
            save(Image.fromarray(mask.astype(np.uint8) * 255), mask_path)


def write_textures(root: Path) -> None:
    """Nine JPEG textures in three classes, laid out like DTD."""
    for kind, name in enumerate(("banded", "dotted", "veined")):
        for index in range(3):
            generator = np.random.default_rng(10 * kind + index)
            small = generator.integers(0, 256, (4 + 4 * kind, 6, 3), np.uint8)
            image = Image.fromarray(small).resize((120, 90), Image.Resampling.NEAREST)
            save(image, root / "images" / name / f"{name}_{index:04}.jpg")


def write_all(root: Path) -> None:
    """Writes every miniature."""
    write_mvtec(root / "mvtec_ad")
    write_visa(root / "visa")
    arrange_visa(root / "visa", root / "visa_arranged")
    write_btad(root / "btad")
    write_textures(root / "textures")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
