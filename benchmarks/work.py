"""How much work a step is, counted from the shapes of its products, and what devices can do."""

import math
from collections.abc import Callable

import jax

# Dense peaks in FLOP/s as their makers state them, by a part of the device's name: bfloat16 on
# tensor cores, and float32 as PyTorch and XLA run it there by default for convolutions (TF32).
PEAKS = {
    "H200": {"bfloat16": 989e12, "float32": 495e12},
    "H100": {"bfloat16": 989e12, "float32": 495e12},
    "A100": {"bfloat16": 312e12, "float32": 156e12},
}


def multiply_adds(function: Callable, *arguments) -> int:
    """Multiply-adds of all convolutions and matrix products of a function, without running it.

    Args:
      function: traced as it is.
      arguments: arrays, or shapes with dtypes.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval
            out_channel = equation.params["dimension_numbers"].rhs_spec[0]
            per_output = kernel.size // kernel.shape[out_channel]
            total += equation.outvars[0].aval.size * per_output
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += equation.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
        for value in jax.tree.leaves(equation.params, is_leaf=lambda v: hasattr(v, "jaxpr")):
            inner = getattr(value, "jaxpr", None)
            if inner is not None:
                total += _count(inner)
    return total


def peak_flops(precision: str) -> float | None:
    """The peak of one of this machine's devices in FLOP/s, None where it is not known."""
    kind = jax.devices()[0].device_kind
    return next((peaks[precision] for name, peaks in PEAKS.items() if name in kind), None)
