"""The most and the least convincing cases, as small pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from data.catalog import Sample
from dtsnet_jax.report.heatmaps import heat_range, overlay

CASES = 4  # a group
SIZE = 192  # pixels


def write_gallery(
    directory: Path,
    samples: Sequence[Sample],
    images: np.ndarray,
    masks: np.ndarray | None,
    maps: np.ndarray,
    threshold: float | None,
) -> list[dict]:
    """Draws the images with the highest and lowest scores of each class.

    Args:
      directory: made where it does not exist; one JPEG a case, holding image, ground truth (where
        there is one), heat map, and the image with the contour of what exceeds the threshold.
      samples: the test images.
      images: (n, h, w, 3) uint8.
      masks: (n, h, w) bool, or None without ground truth.
      maps: (n, h, w) score maps.
      threshold: the score from which on an image is called defective; None where undefined.

    Returns:
      For each case 'group', 'file' (of the picture, without directory), 'source', 'defect' and
      'score'.
    """
    directory.mkdir(parents=True, exist_ok=True)
    scores = maps.max(axis=(1, 2))
    scale = heat_range(maps)
    cases = []
    for group, members in _groups(np.array([s.label for s in samples]), scores).items():
        for index in members:
            sample = samples[index]
            panels = [images[index]]
            if masks is not None:
                panels.append(np.repeat(255 * masks[index][..., None].astype(np.uint8), 3, -1))
            panels.append(np.asarray(overlay(images[index], maps[index], scale)))
            if threshold is not None:
                panels.append(contour(images[index], maps[index] >= threshold))
            name = f"{len(cases):02}.jpg"
            sheet = Image.fromarray(np.concatenate(panels, axis=1))
            sheet.resize((SIZE * len(panels), SIZE)).save(directory / name, quality=85)
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
