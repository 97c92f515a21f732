"""Puts the tensors of a PyTorch state dict into a Flax NNX module, name by name."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from flax import nnx

from dtsnet_jax.errors import UserError

_LEAF_NAMES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def load_state_dict(
    module: nnx.Module, state_dict: Mapping[str, np.ndarray], *, source: str
) -> None:
    """Replaces every parameter and statistic of ``module`` by its tensor of a PyTorch state dict.

    Tensors that the module has no place for (later stages, the classifier) are left out.

    Args:
      module: a module whose attribute names are PyTorch's; changed in place. Its arrays may be
        shapes only.
      state_dict: tensors in PyTorch's layout (OIHW).
      source: the file's name, for messages.

    Raises:
      UserError: a tensor is missing, has another shape, or holds values that are not finite.
    """
    flat = nnx.to_flat_state(nnx.state(module, (nnx.Param, nnx.BatchStat)))
    for path, variable in flat:
        name = torch_name(path)
        if name not in state_dict:
            raise UserError(
                f"'{source}' lacks the tensor '{name}'; it does not hold the weights of this "
                "backbone: check encoder.name and encoder.weights."
            )
        tensor = np.asarray(state_dict[name], np.float32)
        value = to_flax_layout(tensor, variable.ndim)
        if value.shape != variable.shape:
            expected = to_torch_shape(variable.shape)
            raise UserError(
                f"'{source}': the tensor '{name}' has shape {tensor.shape}, expected {expected}; "
                "check that encoder.name and encoder.weights belong together."
            )
        if not np.isfinite(value).all():
            raise UserError(f"'{source}': the tensor '{name}' holds values that are not finite.")
        variable.set_value(jnp.asarray(value))


def torch_name(path: tuple[str | int, ...]) -> str:
    """Returns PyTorch's name of a parameter.

    >>> torch_name(("layer2", "blocks", 0, "downsample", "bn", "scale"))
    'layer2.0.downsample.1.weight'
    """
    *parents, leaf = path
    names = []
    for name in parents:
        if name == "blocks":  # torchvision numbers the blocks of a stage directly
            continue
        if names and names[-1] == "downsample":
            name = {"conv": "0", "bn": "1"}[name]
        names.append(str(name))
    return ".".join([*names, _LEAF_NAMES[leaf]])


def to_flax_layout(tensor: np.ndarray, rank: int) -> np.ndarray:
    """OIHW → HWIO; depthwise C1HW → HWC where the module's kernel has rank 3."""
    if tensor.ndim != 4:
        return tensor
    if rank == 3:
        return tensor[:, 0].transpose(1, 2, 0) if tensor.shape[1] == 1 else tensor
    return tensor.transpose(2, 3, 1, 0)


def to_torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in PyTorch's layout of a Flax kernel's shape."""
    if len(shape) == 4:
        return shape[3], shape[2], shape[0], shape[1]
    if len(shape) == 3:
        return shape[2], 1, shape[0], shape[1]
    return shape
