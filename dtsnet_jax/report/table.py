"""Tables as text."""

from collections.abc import Sequence

METRICS = {
    "image_auroc": "I-AUROC",
    "image_average_precision": "I-AP",
    "image_f1_max": "I-F1",
    "pixel_auroc": "P-AUROC",
    "pixel_average_precision": "P-AP",
    "pixel_f1_max": "P-F1",
    "pro": "PRO",
    "pro_per_image": "PRO per image",
}


def results_table(report: dict) -> str:
    """Lays the metrics out as text, in percent, one line a category and their mean.

    Args:
      report: what ``dtsnet_jax.evaluate.finish`` writes to 'results.json'.
    """
    categories = report["categories"]
    names = [n for n in METRICS if any(n in c["metrics"] for c in categories.values())]
    rows = [["category", *(METRICS[name] for name in names), "train", "test"]]
    for category, result in categories.items():
        counts = [str(result["train_images"]), str(result["test_images"])]
        rows.append([category, *_cells(result["metrics"], names), *counts])
    if len(categories) > 1:
        rows.append(["mean", *_cells(report["mean"], names), "", ""])
    lines = [text_table(rows[0], rows[1:]), f"in percent; protocol {report['protocol']}"]
    without = [
        c for c, result in categories.items() if result["test_images"] and not result["masks"]
    ]
    if without:
        lines.append(f"no masks, whole images are measured only: {', '.join(without)}")
    untested = [c for c, result in categories.items() if not result["metrics"]]
    if untested:
        lines.append(
            f"no good or no defective test images, nothing measured: {', '.join(untested)}"
        )
    return "\n".join(lines)


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lays cells out in columns, the first aligned left, the others right."""
    table = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in table)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _cells(metrics: dict[str, float], names: list[str]) -> list[str]:
    return [f"{100 * metrics[name]:.1f}" if name in metrics else "–" for name in names]
