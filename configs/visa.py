"""VisA, 12 categories, as in Table II of the paper.

    python launch.py --config configs/visa.py --config.data.root=DIR

DIR holds the extracted archive (candle/, …, split_csv/), the tree that is re-arranged into
train/good, test/good, test/bad, or the archive itself; without it the archive is downloaded.
Variants: see ``configs/variants.py``.

No training on it has been measured; ``configs/mvtec.py`` says how fast trainings are.
"""

from ml_collections import ConfigDict

from configs import default, variants

EPOCHS = {
    "chewinggum": 10, "capsules": 200, "macaroni1": 200, "macaroni2": 200, "pcb3": 200,
    "pcb4": 200, "pipe_fryum": 200, "candle": 250, "cashew": 250, "fryum": 250, "pcb1": 250,
    "pcb2": 300,
}  # fmt: skip


def get_config(variant: str = "paper") -> ConfigDict:
    """VisA in one of the variants of ``configs/variants.py``."""
    config = default.get_config()
    config.name = "visa"
    config.data.name = "visa"
    config.data.foreground = "none"  # released; the paper does not say
    config.train.epochs = 0
    config.epochs_by_category = ConfigDict(EPOCHS)
    return variants.apply(config, variant)
