"""The TFDS builder of BTAD."""

from data.dataset_builder import AnomalyDatasetBuilder, category_configs
from data.layouts import btad as layout


class Builder(AnomalyDatasetBuilder):
    """BTAD, one configuration a category; see README.md beside this file."""

    LAYOUT = layout
    BUILDER_CONFIGS = category_configs(layout)
