"""BTAD, 3 categories, as in Table II of the paper.

    python launch.py --config configs/btad.py --config.data.root=DIR

DIR holds 01/, 02/ and 03/, the folder BTech_Dataset_transformed with them, or the archive itself;
without it the archive is downloaded. Foregrounds come from IS-Net and need
requirements-foreground.txt. Variants: see ``configs/variants.py``.

No training on it has been measured; ``configs/mvtec.py`` says how fast trainings are.
"""

from ml_collections import ConfigDict

from configs import default, variants


def get_config(variant: str = "paper") -> ConfigDict:
    """BTAD in one of the variants of ``configs/variants.py``."""
    config = default.get_config()
    config.name = "btad"
    config.data.name = "btad"
    config.data.foreground = "isnet"  # released; the paper does not say
    config.train.epochs = 0
    config.epochs_by_category = ConfigDict({"01": 300, "02": 200, "03": 200})
    return variants.apply(config, variant)
