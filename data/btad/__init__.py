"""BTAD for TFDS: ``import data.btad; tfds.load("btad/01")``."""

from data.btad.btad_dataset_builder import Builder

__all__ = ["Builder"]
