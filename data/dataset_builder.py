"""What the TFDS builders of the published data sets have in common."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import tensorflow_datasets as tfds

from data.archives import download_directory, find_tree
from data.catalog import Sample
from data.foreground import foreground_files
from data.masks import open_mask, open_masks
from data.opening import image_size
from data.options import PixelOptions


@dataclasses.dataclass
class CategoryConfig(tfds.core.BuilderConfig):
    """One category of a data set.

    Attributes:
      category: its name; equal to ``name`` but for configurations of your own.
      foreground: how the foregrounds of training images are made: 'none' (all is foreground),
        'isnet', 'threshold', or a directory of masks. Give such a configuration another name.
    """

    category: str = ""
    foreground: str = "none"

    def __post_init__(self):
        self.category = self.category or self.name


class AnomalyDatasetBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builds from an extracted tree, from the archive, or downloads it.

    A subclass sets ``LAYOUT``, the module that knows the tree. TFDS's ``manual_dir`` is where the
    tree or the archive lies, or where the archive is downloaded to.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The extracted archive or the archive itself; else downloaded."
    LAYOUT: ModuleType

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), doc="The photograph, RGB."),
            "mask": tfds.features.Image(
                shape=(None, None, 1), encoding_format="png", doc="255 where defective, else 0."
            ),
            "label": tfds.features.ClassLabel(names=["good", "defective"]),
            "defect": tfds.features.Text(doc="'good', or the kind of defect."),
            "file_name": tfds.features.Text(doc="Path below the root of the data set."),
            "foreground": tfds.features.Image(
                shape=(None, None, 1), encoding_format="png", doc="255 where foreground, else 0."
            ),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        try:
            directory = Path(dl_manager.manual_dir)
        except AssertionError:  # TFDS's way to say that it does not exist
            directory = download_directory()
        layout = self.LAYOUT
        root = find_tree(layout.CATEGORIES, layout.ARCHIVE, directory, fetch=True)
        config = self.builder_config
        catalog = layout.read(root, config.category)
        foregrounds = foreground_files(
            catalog, config.foreground, PixelOptions(bit_depth=8), model=""
        )
        return {
            "train": self._generate_examples(root, catalog.train, foregrounds),
            "test": self._generate_examples(root, catalog.test, None),
        }

    def _generate_examples(
        self, root: Path, samples: Sequence[Sample], foregrounds: Sequence[Path] | None
    ) -> Iterator[tuple[str, dict]]:
        for index, sample in enumerate(samples):
            name = sample.path.relative_to(root).as_posix()
            shape = image_size(sample.path)[::-1]
            foreground = np.ones(shape, bool)
            if foregrounds is not None:
                foreground = open_mask(foregrounds[index], sample.path, invert=False)
            yield (
                name,
                {
                    "image": sample.path,
                    "mask": _to_png(open_masks(sample, invert=False)),
                    "label": sample.label,
                    "defect": sample.defect,
                    "file_name": name,
                    "foreground": _to_png(foreground),
                },
            )


def _to_png(mask: np.ndarray) -> np.ndarray:
    return (mask[..., None] * 255).astype(np.uint8)


def category_configs(layout: ModuleType) -> list[CategoryConfig]:
    """One configuration a category."""
    return [CategoryConfig(name=name) for name in layout.CATEGORIES]
