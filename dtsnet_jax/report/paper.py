"""The figures of the DTSNet paper (ICME 2025), Tables I–VI, to be shown beside ours.

Its RD and PatchCore columns stand beside our variants ``rd`` and ``knn``. All are WideResNet50-2 at
256 pixels unless the table varies the backbone, and by the paper's code the best epoch on the test
images; PRO there is the variant that is called ``pro_per_image`` here.
"""

import json
from pathlib import Path

PAPER_METRICS = ("image_auroc", "pixel_auroc", "pro_per_image")
_TABLES = json.loads((Path(__file__).parent / "paper.json").read_text())


def paper_figures(data_set: str, variant: str) -> dict[str, dict[str, float]]:
    """What the paper reports of a variant.

    Args:
      data_set: ``data.name`` of a configuration.
      variant: its ``variant``.

    Returns:
      By category, and 'mean' for their mean, the metrics of ``PAPER_METRICS`` in [0, 1]; empty
      where the paper has nothing.
    """
    figures = _TABLES.get(data_set, {}).get(variant, {})
    return {
        category: {name: v / 100 for name, v in zip(PAPER_METRICS, values, strict=True)}
        for category, values in figures.items()
    }
