"""The teacher with its pretrained weights, on the devices."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from flax import nnx
from flax.typing import Dtype
from jax.sharding import Mesh

from data.files import file_digest
from dtsnet_jax.devices.mesh import data_mesh, replicate
from dtsnet_jax.model.backbones import Backbone, get_backbone
from dtsnet_jax.model.encoder import Encoder, build_encoder
from dtsnet_jax.weights.convert import load_state_dict
from dtsnet_jax.weights.sources import find_weights
from dtsnet_jax.weights.state_dict import read_state_dict


@dataclass(frozen=True)
class Teacher:
    """A frozen encoder; all detectors with the same weights share one.

    Attributes:
      name: its key in ``BACKBONES``.
      backbone: its shapes and normalisation.
      encoder: in inference mode.
      arrays: its weights, on every device.
      mesh: the devices.
      dtype: what activations are computed in; None for float32.
      digest: SHA-256 of the file of the weights.
    """

    name: str
    backbone: Backbone
    encoder: Encoder
    arrays: Any
    mesh: Mesh
    dtype: Dtype | None
    digest: str


def load_teacher(name: str, weights: str, *, dtype: Dtype | None = None) -> Teacher:
    """Loads a teacher and puts it on all devices.

    Args:
      name: a key of ``BACKBONES``.
      weights: 'imagenet' or the path of a ``.pth`` or ``.safetensors`` file.
      dtype: what activations are computed in; None for float32.

    Raises:
      UserError: unknown backbone; weights missing, damaged or of another architecture.
    """
    get_backbone(name)
    path = find_weights(name, weights)
    encoder = load_encoder(name, path, dtype=dtype)
    return place_teacher(name, encoder, dtype=dtype, digest=file_digest(path))


def load_encoder(name: str, path: Path, *, dtype: Dtype | None = None) -> Encoder:
    """Builds a backbone's encoder with its pretrained weights, in inference mode.

    Args:
      name, dtype: as for ``load_teacher``.
      path: what ``find_weights`` returns.

    Raises:
      UserError: unknown backbone; weights damaged or of another architecture.
    """
    encoder = _encoder_shapes(name, dtype)
    load_state_dict(encoder, read_state_dict(path), source=str(path))
    return encoder


def _encoder_shapes(name: str, dtype: Dtype | None) -> Encoder:
    """An encoder whose arrays are not made."""
    return nnx.eval_shape(lambda: build_encoder(name, dtype=dtype, rngs=nnx.Rngs(0)))


def encoder_shapes(encoder: Encoder) -> Any:
    """Shapes and dtypes of an encoder's arrays, which need not be made."""
    return jax.tree.map(
        lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype),
        nnx.as_pure(nnx.state(encoder)),
    )


def restore_teacher(
    name: str, arrays: Any, mesh: Mesh, *, dtype: Dtype | None, digest: str
) -> Teacher:
    """A teacher whose arrays lie on the devices already; its arguments are its attributes."""
    encoder = _encoder_shapes(name, dtype)
    return Teacher(name, get_backbone(name), encoder, arrays, mesh, dtype, digest)


def place_teacher(
    name: str, encoder: Encoder, *, dtype: Dtype | None = None, digest: str = ""
) -> Teacher:
    """Puts an encoder on all devices; its arguments become attributes of ``Teacher``."""
    mesh = data_mesh()
    arrays = replicate(nnx.as_pure(nnx.state(encoder)), mesh)
    return Teacher(name, get_backbone(name), encoder, arrays, mesh, dtype, digest)
