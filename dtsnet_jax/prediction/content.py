"""What the file of a detector has to hold, so that whatever else is in it is refused by name."""

from typing import Any

import jax
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from data.options import BIT_DEPTHS
from dtsnet_jax.detectors.fitted import ANY, Parts
from dtsnet_jax.errors import UserError

HEADER_FORM = {
    "config": {"threshold": {"false_alarms": float, "review": float}},
    "about": {
        **dict.fromkeys(("category", "teacher", "fingerprint"), str),
        "seed": (int,),
        "bit_depth": int,
    },
}
_CALIBRATION = {  # dimensions: n calibration images, c channels of features
    "scores": ("n",),
    "peaks": ("n",),
    "features": ("n", "c"),
    "usual/mean": ("c",),
    "usual/precision": ("c", "c"),
    "typical": (),
    "highest": (),
}
_POSITIVE = ("scales", "units", "damping")


def flatten(tree: Any) -> dict[str, Any]:
    """The arrays of dicts within dicts, or of Flax's states, by their path with '/' between."""
    plain = jax.tree.map(_as_dict, tree, is_leaf=_is_state)
    return {"/".join(map(str, keys)): leaf for keys, leaf in flatten_dict(plain).items()}


def unflatten(arrays: dict[str, np.ndarray]) -> dict:
    """The inverse of ``flatten``; only numbers of layers in lists and of members are in digits.

    Raises:
      ValueError: the same name is an array and holds others.
    """
    paths = {
        tuple(int(key) if key.isdecimal() else key for key in name.split("/")): array
        for name, array in arrays.items()
    }
    for path in paths:
        if inside := next((path[:end] for end in range(1, len(path)) if path[:end] in paths), None):
            raise ValueError(f"'{'/'.join(map(str, inside))}' is an array, and a group of them")
    return unflatten_dict(paths)


def _is_state(tree: object) -> bool:
    return isinstance(tree, nnx.State)


def _as_dict(tree: Any) -> Any:
    return nnx.to_pure_dict(tree) if _is_state(tree) else tree


def check_content(arrays: dict[str, np.ndarray], about: dict) -> None:
    """Refuses what no detector can have.

    Args:
      arrays: all of the file, by name.
      about: of the header.

    Raises:
      ValueError: an array is missing, has another rank than it needs or than others say, is of
        something else than numbers, or holds values that are not finite.
    """
    if about["bit_depth"] not in BIT_DEPTHS:
        raise ValueError(f"its bit depth is {about['bit_depth']}, expected one of {BIT_DEPTHS}")
    for name, array in arrays.items():
        if name == "region":
            if array.dtype != bool or array.ndim != 2:
                raise ValueError(f"its region is {_described(array)}")
        elif not name.startswith(("calibration/", "parts/")):
            raise ValueError(f"its array '{name}' is unknown")
        elif array.dtype not in (np.float32, np.float64):
            raise ValueError(f"its array '{name}' is {_described(array)}")
        elif not np.isfinite(array).all():
            raise ValueError(f"its array '{name}' holds values that are not finite")
    sizes: dict[str, int] = {}
    for name, dimensions in _CALIBRATION.items():
        array = arrays[f"calibration/{name}"]
        fits = array.ndim == len(dimensions)
        if not fits or any(
            sizes.setdefault(dimension, size) != size
            for dimension, size in zip(dimensions, array.shape, strict=True)
        ):
            raise ValueError(f"its array 'calibration/{name}' is {_described(array)}")


def check_parts(parts: Parts, like: Parts) -> None:
    """Refuses arrays that are not those of the network that the settings name.

    Args:
      parts: what was read.
      like: what ``Learner.parts_like`` returns.

    Raises:
      UserError: naming the array.
    """
    found, expected = flatten(parts), flatten(like)
    for name in sorted(found.keys() ^ expected.keys()):
        raise _unfit(f"it {'has' if name in found else 'lacks'} the array 'parts/{name}'")
    for name, one in expected.items():
        array = found[name]
        pairs = zip(array.shape, one.shape, strict=False)
        same = array.ndim == len(one.shape) and array.dtype == one.dtype
        if not same or any(b not in (a, ANY) or not a for a, b in pairs):
            raise _unfit(f"its array 'parts/{name}' is {_described(array)}, expected {one.shape}")
        least = array.min()
        if (least < 0 and name.endswith("/var")) or (least <= 0 and name.endswith(_POSITIVE)):
            raise _unfit(f"its array 'parts/{name}' holds {least}, expected more than 0")


def _unfit(what: str) -> UserError:
    return UserError(
        f"the detector is damaged or of another version of this program, {what}; make it anew with "
        "--job=evaluate --workdir=RUN; one of another version has to be trained anew."
    )


def _described(array: np.ndarray) -> str:
    return f"{array.shape} of {array.dtype}"
