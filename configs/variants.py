"""Named settings that go with any data set: ``--config configs/mvtec.py:NAME``.

paper          the paper as written, the default but for configs/folder.py and configs/demo.py
official       the authors' released code, which reports the best epoch on the test images
rd             plain reverse distillation: no synthesis, no feature fusion, no APR
rd_fas         the baseline of Table III: reverse distillation with synthesised anomalies
rd_fas_mff     the same with feature fusion; ``paper`` adds APR
no_diversity   one Perlin mask in place of two (Table IV)
no_foreground  anomalies anywhere in the image (Table IV)
resnet18, resnet34, resnet50           other backbones (Table V)
level_1, level_2, level_3, levels_2_3  fewer score maps (Table VI)
calibrated     ours: each level's map is divided by its spread on the training images
weighed        ours: distances weigh the more, the longer the teacher's vectors are
knn            the baseline without training: nearest neighbours in the teacher's features
robust         ours, default of configs/folder.py and configs/demo.py: smaller batches, averaged
               weights, no APR, weighed distances, nearest neighbours beside the student

A table runs several of them side by side: table_1, table_3, table_4, table_5, table_6, components.
"""

from ml_collections import ConfigDict

PLAIN = {"student.bottleneck": "rd", "student.reconstruction": False}
VARIANTS = {
    "paper": {},
    "official": {
        "student.bottleneck": "rd",
        "synthesis.masks": ("first", "second", "intersection", "union"),
        "synthesis.opacity_of": "texture",
        "synthesis.soft_foreground": True,
        "data.antialias": False,
        "protocol": "best_on_test",
        "train.evaluate_every": 1,
    },
    "rd": PLAIN | {"synthesis.every": 0},
    "rd_fas": PLAIN,
    "rd_fas_mff": {"student.reconstruction": False},
    "no_diversity": {"synthesis.masks": ("first",)},
    "no_foreground": {"data.foreground": "none"},
    "resnet18": {"encoder.name": "resnet18"},
    "resnet34": {"encoder.name": "resnet34"},
    "resnet50": {"encoder.name": "resnet50"},
    "level_1": {"scoring.levels": (1,)},
    "level_2": {"scoring.levels": (2,)},
    "level_3": {"scoring.levels": (3,)},
    "levels_2_3": {"scoring.levels": (2, 3)},
    "calibrated": {"scoring.calibrate": True},
    "weighed": {"scoring.weigh_by_length": True},
    "robust": {
        "detector": "student+knn",
        "student.reconstruction": False,
        "scoring.weigh_by_length": True,
        "train.batch_size": 8,
        "train.accumulate": 1,
        "train.average_over": 0.05,
    },
    "knn": {"detector": "knn", "synthesis.every": 0, "train.augment": (), "protocol": "final"},
}
TABLES = {
    "table_1": ("rd", "knn", "paper"),
    "table_3": ("rd_fas", "rd_fas_mff", "paper"),
    "table_4": ("no_diversity", "no_foreground", "paper"),
    "table_5": ("resnet18", "resnet34", "resnet50", "paper"),
    "table_6": ("paper", "level_1", "level_2", "level_3", "levels_2_3"),
    "components": ("rd", "rd_fas", "rd_fas_mff", "paper", "calibrated", "weighed", "knn", "robust"),
}


def apply(config: ConfigDict, variant: str) -> ConfigDict:
    """Changes ``config`` to a variant or a table and adds its name to the run's.

    Raises:
      ValueError: there is no such variant.
    """
    if variant in TABLES:
        config.rows = TABLES[variant]
    elif variant in VARIANTS:
        config.variant = variant
        config.update_from_flattened_dict(VARIANTS[variant])
    else:
        valid = ", ".join([*VARIANTS, *TABLES])
        raise ValueError(f"the configuration has no variant '{variant}'; valid: {valid}.")
    if variant != "paper":
        config.name = f"{config.name}-{variant}"
    return config
