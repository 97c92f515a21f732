"""The table of a run's results."""

METRICS = {
    "image_auroc": "I-AUROC",
    "pixel_auroc": "P-AUROC",
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
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines.append(f"in percent; protocol {report['protocol']}")
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


def _cells(metrics: dict[str, float], names: list[str]) -> list[str]:
    return [f"{100 * metrics[name]:.1f}" if name in metrics else "–" for name in names]
