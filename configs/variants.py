"""Named settings that go with any data set: ``--config configs/mvtec.py:NAME``.

paper          the paper as written (default)
official       the authors' released code
rd             plain reverse distillation: no synthesis, no feature fusion, no APR
no_diversity   the paper's ablation of one Perlin mask in place of two (Table IV)
no_foreground  the paper's ablation of anomalies anywhere in the image (Table IV)
"""

import difflib

from ml_collections import ConfigDict

VARIANTS = {
    "paper": {},
    "official": {
        "student.bottleneck": "rd",
        "synthesis.masks": ("first", "second", "intersection", "union"),
        "synthesis.opacity_of": "texture",
    },
    "rd": {
        "student.bottleneck": "rd",
        "student.reconstruction": False,
        "synthesis.every": 0,
    },
    "no_diversity": {"synthesis.masks": ("first",)},
    "no_foreground": {"data.foreground": "none"},
}


def apply(config: ConfigDict, variant: str) -> ConfigDict:
    """Changes ``config`` to a variant and adds the variant to the run's name.

    Raises:
      ValueError: there is no such variant; the message has the nearest name.
    """
    if variant not in VARIANTS:
        near = difflib.get_close_matches(variant, VARIANTS, n=1, cutoff=0.4)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(
            f"the configuration has no variant '{variant}'.{hint} Valid: {', '.join(VARIANTS)}."
        )
    config.update_from_flattened_dict(VARIANTS[variant])
    if variant != "paper":
        config.name = f"{config.name}-{variant}"
    return config
