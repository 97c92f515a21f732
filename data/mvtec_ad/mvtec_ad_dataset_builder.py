"""The TFDS builder of MVTec AD."""

from data.dataset_builder import AnomalyDatasetBuilder, category_configs
from data.layouts import mvtec_ad as layout


class Builder(AnomalyDatasetBuilder):
    """MVTec AD, one configuration a category; see README.md beside this file."""

    LAYOUT = layout
    BUILDER_CONFIGS = category_configs(layout)
