"""Scores a directory of photographs with PyTorch, as its users would: see 'benchmarks.predict'.

python -m benchmarks.predict_rival BACKBONE DIR CSV [--compile]
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.pytorch_rival import Rival


class Photographs(Dataset):
    """Files as arrays of 256 × 256."""

    def __init__(self, paths: list[Path]):
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, torch.Tensor]:
        with Image.open(self.paths[index]) as image:
            resized = image.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
        return str(self.paths[index]), torch.from_numpy(np.array(resized))


def main() -> None:
    """Scores and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbone")
    parser.add_argument("images", type=Path)
    parser.add_argument("record", type=Path)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    rival = Rival(options.backbone, device="cpu", precision="float32", compiled=options.compile)
    photographs = Photographs(sorted(options.images.iterdir()))
    loader = DataLoader(photographs, batch_size=16, num_workers=1)
    with options.record.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "score"))
        for names, images in loader:
            scores = rival.score(images).flatten(1).amax(dim=1).tolist()
            writer.writerows(zip(names, scores, strict=True))
            file.flush()


if __name__ == "__main__":
    main()
