"""A loader that does all work for each sample, as the authors' released one does.

Each sample decodes and resizes its image; every other one also decodes and resizes a texture and
makes two Perlin masks in NumPy, rotated as ``imgaug`` does it (OpenCV's warpAffine). PyTorch's
DataLoader spreads it over worker processes.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


def _perlin(generator: np.random.Generator, size: int) -> np.ndarray:
    rows, columns = 2 ** generator.integers(0, 6, 2)
    angles = 2 * np.pi * generator.random((rows + 1, columns + 1))
    sin, cos = np.sin(angles).astype(np.float32), np.cos(angles).astype(np.float32)
    y = (np.arange(size, dtype=np.float32) * rows / size)[:, None]
    x = (np.arange(size, dtype=np.float32) * columns / size)[None, :]
    y0, x0 = y.astype(int), x.astype(int)

    def corner(dy: int, dx: int) -> np.ndarray:
        index = (y0 + dy, x0 + dx)
        return sin[index] * (y - y0 - dy) + cos[index] * (x - x0 - dx)

    def fade(t: np.ndarray) -> np.ndarray:
        return t * t * t * (t * (t * 6 - 15) + 10)

    fade_y, fade_x = fade(y - y0), fade(x - x0)
    top = corner(0, 0) * (1 - fade_x) + corner(0, 1) * fade_x
    bottom = corner(1, 0) * (1 - fade_x) + corner(1, 1) * fade_x
    return np.float32(np.sqrt(2)) * (top * (1 - fade_y) + bottom * fade_y)


def _mask(generator: np.random.Generator, size: int) -> np.ndarray:
    centre = ((size - 1) / 2, (size - 1) / 2)
    turn = cv2.getRotationMatrix2D(centre, generator.uniform(-90, 90), 1.0)
    return cv2.warpAffine(_perlin(generator, size), turn, (size, size)) > 0.5


class PerSample(Dataset):
    """Normal and synthesised image of each file."""

    def __init__(self, images: list[Path], textures: list[Path], size: int):
        self.images, self.textures, self.size = images, textures, size

    def __len__(self) -> int:
        return len(self.images)

    def _read(self, path: Path) -> np.ndarray:
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        return cv2.resize(image, (self.size, self.size))

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        generator = np.random.default_rng()
        normal = self._read(self.images[index])
        if index % 2 == 0:
            return normal, normal, np.zeros((self.size, self.size), bool)
        first, second = _mask(generator, self.size), _mask(generator, self.size)
        mask = first & second if generator.random() < 0.5 else first | second
        texture = self._read(self.textures[generator.integers(len(self.textures))])
        beta = np.float32(generator.uniform(0.15, 1.0))
        blend = (beta * normal + (1 - beta) * texture).astype(np.uint8)
        return normal, np.where(mask[..., None], blend, normal), mask


def loader(images: list[Path], textures: list[Path], size: int, *, batch_size: int) -> DataLoader:
    """Shuffled batches from two worker processes."""
    cv2.setNumThreads(1)  # the workers share the cores
    torch.set_num_threads(1)
    return DataLoader(
        PerSample(images, textures, size),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,
    )
