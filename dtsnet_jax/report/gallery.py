"""The most and the least convincing cases, as small pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from data.catalog import Sample
from dtsnet_jax.report.heatmaps import Picture, overlay

CASES = 4  # a group
SIZE = 192  # pixels, a panel


def write_gallery(
    directory: Path,
    samples: Sequence[Sample],
    picture: Callable[[int], Picture],
    scores: np.ndarray,
    scale: tuple[float, float],
    threshold: float | None,
) -> list[dict]:
    """Draws the images with the highest and lowest scores of each class.

    Args:
      directory: made where it does not exist; one JPEG a case, holding image, ground truth (where
        there is one), heat map, and the image with the contour of what exceeds the threshold.
      samples: the test images.
      picture: makes that of the image with a number.
      scores: (n,) of the images.
      scale: the scores of the coldest and the hottest colour.
      threshold: the score from which on an image is called defective; None where undefined.

    Returns:
      For each case 'group', 'file' (of the picture, without directory), 'source', 'defect' and
      'score'.
    """
    directory.mkdir(parents=True, exist_ok=True)
    cases = []
    for group, members in _groups(np.array([s.label for s in samples]), scores).items():
        for index in members.tolist():
            sample = samples[index]
            image, heat, mask = picture(index)
            panels = [image]
            if mask is not None:
                panels.append(np.repeat(255 * mask[..., None].astype(np.uint8), 3, -1))
            panels.append(np.asarray(overlay(image, heat, scale)))
            if threshold is not None:
                panels.append(contour(image, heat >= threshold))
            name = f"{len(cases):02}.jpg"
            _sheet(panels).save(directory / name, quality=85)
            cases.append(
                {
                    "group": group,
                    "file": name,
                    "source": sample.path.name,
                    "defect": sample.defect,
                    "score": float(scores[index]),
                }
            )
    return cases


def _sheet(panels: Sequence[np.ndarray]) -> Image.Image:
    """Panels of one shape side by side; wide ones stand below each other."""
    height, width = panels[0].shape[:2]
    sheet = Image.fromarray(np.concatenate(panels, axis=1 if width < 2 * height else 0))
    return ImageOps.contain(sheet, (SIZE * len(panels), SIZE * len(panels)))


def _groups(labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Indices of the most and the least convincing images of each class, none in two groups."""
    groups = {}
    for name, label in (("Defective", 1), ("Good", 0)):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(scores[members], kind="stable")]
        if label:  # convincing is a high score of a defect, and a low one of a good part
            members = members[::-1]
        half = (len(members) + 1) // 2
        groups[f"{name}, most convincing"] = members[:half][:CASES]
        groups[f"{name}, least convincing"] = members[half:][::-1][:CASES]
    return groups


def contour(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Draws the inner edge of a region, two pixels wide, into a copy of an image.

    Args:
      image: (h, w, 3) uint8.
      region: (h, w) bool.
    """
    edge = region & ~ndimage.binary_erosion(region, iterations=2, border_value=1)
    drawn = image.copy()
    drawn[edge] = (255, 64, 0)
    return drawn
