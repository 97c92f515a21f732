"""VisA for TFDS: ``import data.visa; tfds.load("visa/candle")``."""

from data.visa.visa_dataset_builder import Builder

__all__ = ["Builder"]
