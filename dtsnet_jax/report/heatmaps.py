"""Pictures of what was found: the image, its ground truth, and the heat over it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from data.catalog import NOT_IN_NAMES, Sample
from dtsnet_jax.evaluation.scoring import Scores

CAPTION_HEIGHT = 16  # pixels


class Picture(NamedTuple):
    """A photograph and what was found in it.

    Attributes:
      image: (h, w, 3) uint8.
      heat: (h, w) float32, its score map.
      mask: (h, w) bool, or None without ground truth.
    """

    image: np.ndarray
    heat: np.ndarray
    mask: np.ndarray | None


def heat_range(scores: Scores) -> tuple[float, float]:
    """The one scale of all pictures of a run: from the median to the 99.9th percentile of scores.

    Scaling each picture by itself would make every good part look defective somewhere.

    Args:
      scores: of all images; what was not looked at does not count.

    Returns:
      The scores shown as coldest and hottest.
    """
    seen = scores.maps if scores.valid is None else scores.maps[scores.valid]
    low, high = np.percentile(seen, (50.0, 99.9)) if seen.size else (0.0, 0.0)
    return float(low), float(max(high, low + 1e-12))


def overlay(image: np.ndarray, score_map: np.ndarray, scale: tuple[float, float]) -> Image.Image:
    """Lays a heat map over an image: cold leaves the image as it is, hot covers it.

    Args:
      image: (h, w, 3) uint8.
      score_map: (h, w) float.
      scale: the scores of the coldest and the hottest colour.
    """
    heat = np.clip((score_map - scale[0]) / (scale[1] - scale[0]), 0.0, 1.0)
    gray = Image.fromarray((255 * heat).astype(np.uint8))
    colour = ImageOps.colorize(gray, black="navy", mid="red", white="yellow")
    opacity = Image.fromarray((180 * np.sqrt(heat)).astype(np.uint8))
    return Image.composite(colour, Image.fromarray(image), opacity)


def write_heatmaps(
    directory: Path,
    samples: Sequence[Sample],
    picture: Callable[[int], Picture],
    scores: np.ndarray,
    scale: tuple[float, float],
) -> None:
    """Writes one PNG a test image, its score and rank in the caption.

    The files are named DEFECT_STEM.png, with a number where two images share both, and with '_'
    for characters that names of files cannot have everywhere.

    Args:
      directory: made where it does not exist.
      samples: the test images.
      picture: makes that of the image with a number.
      scores: (n,) of the images.
      scale: the scores of the coldest and the hottest colour.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ranks = np.argsort(np.argsort(-scores)) + 1
    taken: set[str] = set()
    for index, sample in enumerate(samples):
        image, heat, mask = picture(index)
        panels = [Image.fromarray(image)]
        if mask is not None:
            panels.append(Image.fromarray(mask).convert("RGB"))
        panels.append(overlay(image, heat, scale))
        caption = f"score {scores[index]:.3f}  rank {ranks[index]}/{len(samples)}  {sample.defect}"
        name = f"{sample.defect}_{sample.path.stem}"
        name = "".join("_" if c in NOT_IN_NAMES or c < " " else c for c in name)
        while name.casefold() in taken:  # many disks do not tell A from a
            name = f"{name}_{index}"
        taken.add(name.casefold())
        _side_by_side(panels, caption).save(directory / f"{name}.png")


def _side_by_side(panels: Sequence[Image.Image], caption: str) -> Image.Image:
    height = panels[0].height
    sheet = Image.new("RGB", (sum(p.width for p in panels), height + CAPTION_HEIGHT))
    left = 0
    for panel in panels:
        sheet.paste(panel, (left, 0))
        left += panel.width
    ImageDraw.Draw(sheet).text((4, height + 2), caption, fill="white")
    return sheet
