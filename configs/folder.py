"""Your own photographs: DIR/normal/, optionally DIR/defective/ and DIR/masks/; a tree; a table.

    python launch.py --config configs/folder.py --config.data.root=DIR

Every layout is described where it is read: ``data/layouts/{own,train_test,table,mask_files}.py``.

It trains on 10,000 images, each as often as it comes (--config.train.visits; of more than 10,000
parts, or of several categories in one model, name more), and is ``:robust`` unless you name another
variant. On two CPU cores with --config.encoder.name=efficientnet_lite0 that takes a quarter of an
hour; the default teacher, WideResNet50-2, is for GPUs.

Textures for the synthesised anomalies are scikit-image's sample photographs unless you name a
directory with --config.data.textures=DTD. Variants: see ``configs/variants.py``.
"""

from ml_collections import ConfigDict

from configs import default, variants


def get_config(variant: str = "robust") -> ConfigDict:
    """A user's own images in one of the variants of ``configs/variants.py``."""
    config = default.get_config()
    config.name = "folder"
    config.data.name = "folder"
    config.data.calibration = 0.1
    config.data.textures = "scikit-image"
    config.train.epochs = 0
    config.train.visits = 10_000
    return variants.apply(config, variant)
