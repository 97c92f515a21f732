"""MVTec AD for TFDS: ``import data.mvtec_ad; tfds.load("mvtec_ad/bottle")``."""

from data.mvtec_ad.mvtec_ad_dataset_builder import Builder

__all__ = ["Builder"]
