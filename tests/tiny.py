"""Backbones that compile in seconds: ResNet's code with one narrow block a stage.

``python -m tests.tiny ARGUMENTS`` is launch.py with them.
"""

import tempfile
from pathlib import Path

import numpy as np
import safetensors.numpy
from flax import nnx

from data.files import partial_path
from dtsnet_jax.model.backbones import BACKBONES, Backbone
from dtsnet_jax.model.encoder import build_encoder
from dtsnet_jax.model.residual import BasicBlock, BottleneckBlock
from dtsnet_jax.weights.convert import to_torch_shape, torch_name

BACKBONES["tiny"] = Backbone((8, 16, 32), 64, BasicBlock, (1, 1, 1), 1, (1, 1, 1))
BACKBONES["tiny_wide"] = Backbone(  # as WideResNet50-2
    (16, 32, 64), 128, BottleneckBlock, (1, 1, 1), 2, (1, 1, 1), width_factor=2
)
WEIGHTS = Path(tempfile.gettempdir()) / "dtsnet-jax-tests" / "tiny.safetensors"


def write_weights() -> None:
    """Writes random weights as PyTorch names and lays them out, the same ones every time."""
    generator = np.random.default_rng(0)
    encoder = nnx.eval_shape(lambda: build_encoder("tiny", rngs=nnx.Rngs(0)))
    tensors = {}
    for path, variable in nnx.to_flat_state(nnx.state(encoder, (nnx.Param, nnx.BatchStat))):
        shape = to_torch_shape(variable.shape)
        values = generator.normal(size=shape) * (2 / np.prod(shape[1:])) ** 0.5
        if path[-1] in ("scale", "var"):
            values = np.ones(shape)
        elif path[-1] in ("bias", "mean"):
            values = np.zeros(shape)
        tensors[torch_name(path)] = np.ascontiguousarray(values, np.float32)
    with partial_path(WEIGHTS) as partial:
        safetensors.numpy.save_file(tensors, partial)


if not WEIGHTS.is_file():
    write_weights()

if __name__ == "__main__":
    import launch

    launch.app.run(launch.main, flags_parser=launch.parse_flags)
