"""The TFDS builder of VisA."""

from data.dataset_builder import AnomalyDatasetBuilder, category_configs
from data.layouts import visa as layout


class Builder(AnomalyDatasetBuilder):
    """VisA, one configuration a category; see README.md beside this file."""

    LAYOUT = layout
    BUILDER_CONFIGS = category_configs(layout)
