"""Devices in a row: every batch is split over them, every weight lies on all of them."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def data_mesh() -> Mesh:
    """A mesh of all devices with the single axis 'data'."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicate(tree, mesh: Mesh):
    """Puts a copy of every array on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def split_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Splits every array of several batches along its second axis over the devices of the mesh.

    Args:
      batch: this process's share of the arrays, each (batches, n, ...).
    """
    sharding = NamedSharding(mesh, PartitionSpec(None, "data"))
    return {
        name: jax.make_array_from_process_local_data(sharding, array)
        for name, array in batch.items()
    }


def split_whole(array: np.ndarray, mesh: Mesh) -> jax.Array:
    """Splits an array that every process has along its first axis over the devices."""
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return jax.make_array_from_process_local_data(sharding, array, array.shape)


def fetch(tree: Any) -> Any:
    """Brings arrays to the host, whole on every process wherever their parts lie."""
    if jax.process_count() > 1:
        tree = multihost_utils.process_allgather(tree, tiled=True)
    return jax.device_get(tree)


def map_batches(
    function: Callable[[jax.Array], Any], images: np.ndarray, *, batch_size: int, mesh: Mesh
) -> Any:
    """Applies a function of a batch to many images, in batches of one shape.

    Args:
      function: takes (batch, ...) on the devices; returns a tree of (batch, ...).
      images: (n, ...); the last batch is filled up, and the results cut.
      batch_size: images a time, rounded up to a multiple of the number of devices.
      mesh: the devices.

    Returns:
      The same tree of NumPy arrays, each (n, ...).
    """
    batch_size = -(-batch_size // mesh.size) * mesh.size
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        missing = batch_size - len(batch)
        filled = np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)])
        parts.append(function(split_whole(filled, mesh)))  # returns before it is computed
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[: len(images)], *map(fetch, parts))
