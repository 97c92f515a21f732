"""MVTec AD, 15 categories, as in Table I of the paper.

    python launch.py --config configs/mvtec.py --config.data.root=DIR
    python launch.py --config configs/mvtec.py:official …   the released code's settings
    python launch.py --config configs/mvtec.py:rd …         plain reverse distillation

DIR holds the extracted archive (bottle/, cable/, …) or the archive itself; without it the archive
is downloaded. Foregrounds of objects come from IS-Net and need requirements-foreground.txt.

The paper's WideResNet50-2 is for GPUs. With EfficientNet-Lite0 one CPU core trains on 8 to 10
images a second; with the settings that README.md names, ``:robust`` has I-AUROC / P-AUROC / PRO of
100.0 / 98.9 / 96.6 on bottle and 95.4 / 99.5 / 97.1 on screw after 10,000 image visits. On an H100
64,000 visits with that teacher take up to 5 minutes; on screw ``:rd_fas`` then has 93.4 / 99.0 /
95.3, ``:rd`` 92.2 / 98.8 / 94.1 and ``:paper`` 89.2 / 98.5 / 92.5 (seed 111).
"""

from ml_collections import ConfigDict

from configs import default, variants

EPOCHS = {
    "carpet": 10, "leather": 10, "wood": 100, "grid": 260, "tile": 260,
    "hazelnut": 160, "metal_nut": 160, "pill": 200, "bottle": 200, "cable": 240,
    "toothbrush": 280, "capsule": 400, "screw": 350, "transistor": 350, "zipper": 350,
}  # fmt: skip


def get_config(variant: str = "paper") -> ConfigDict:
    """MVTec AD in one of the variants of ``configs/variants.py``."""
    config = default.get_config()
    config.name = "mvtec"
    config.data.name = "mvtec_ad"
    config.data.foreground = "isnet"  # of objects; the five textures have no background
    config.train.epochs = 0
    config.epochs_by_category = ConfigDict(EPOCHS)
    return variants.apply(config, variant)
