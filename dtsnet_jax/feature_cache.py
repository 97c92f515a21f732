"""The teacher's features of the training images, kept on the devices.

Nothing is augmented beside the synthesised anomalies, so f_T,n of an image never changes.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, UInt8

from data.memory import format_bytes, free_memory
from dtsnet_jax.mesh import split_whole
from dtsnet_jax.model.encoder import Features

_SHARE = 0.5  # of a device's free memory; the rest is for training


class FeatureCache:
    """f_T,n of every training image, a copy on each device."""

    def __init__(
        self,
        teacher: Callable[[Array], Features],
        images: UInt8[np.ndarray, "n s s 3"],
        *,
        batch_size: int,
        mesh: Mesh,
    ):
        """Runs the teacher once over all images.

        Args:
          teacher: images on the devices to f_T, jitted.
          images: the training images.
          batch_size: images a time, a multiple of the number of devices.
          mesh: the devices.
        """
        everywhere = NamedSharding(mesh, PartitionSpec())
        batches = -(-len(images) // batch_size)
        self._features = tuple(
            jnp.zeros((batches * batch_size, *level.shape[1:]), level.dtype, device=everywhere)
            for level in _one_batch(teacher, images, batch_size)
        )
        insert = jax.jit(_insert, donate_argnums=0, out_shardings=everywhere)
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            padding = [(0, batch_size - len(batch)), (0, 0), (0, 0), (0, 0)]
            features = teacher(split_whole(np.pad(batch, padding), mesh))
            # The wait keeps this gathering from overlapping with the teacher's next batch: devices
            # that share one CPU run out of threads where programs with collectives overlap.
            self._features = jax.block_until_ready(insert(self._features, features, start))
        self._take = jax.jit(_take, out_shardings=NamedSharding(mesh, PartitionSpec("data")))

    def take(self, index: Int[Array, "b"]) -> Features:
        """The features of some images, split over the devices."""
        return self._take(self._features, index)


def _insert(cache: Features, features: Features, start: int) -> Features:
    update = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
    return tuple(map(update, cache, features))


def _take(cache: Features, index: Array) -> Features:
    return tuple(level[index] for level in cache)


def _one_batch(teacher, images: np.ndarray, batch_size: int) -> Features:
    shape = jax.ShapeDtypeStruct((batch_size, *images.shape[1:]), images.dtype)
    return jax.eval_shape(teacher, shape)


def cache_fits(
    teacher: Callable[[Array], Features], images: UInt8[np.ndarray, "n s s 3"], name: str
) -> bool:
    """Predicts the bytes of a cache on each device, prints them, and says whether they fit.

    Args:
      teacher: images to f_T.
      images: the training images.
      name: of the category, for the message.
    """
    per_image = sum(level.size * level.dtype.itemsize for level in _one_batch(teacher, images, 1))
    needed, free = per_image * len(images), _free_device_memory()
    fits = bool(np.all(multihost_utils.process_allgather(needed <= _SHARE * free)))
    print(
        f"{name}: the teacher's features of {len(images)} training images take "
        f"{format_bytes(needed)} on each device, {format_bytes(free)} are free; "
        + ("kept there" if fits else "computed anew in every step")
    )
    return fits


def _free_device_memory() -> int:
    """Bytes that are free on each of this process's devices."""
    statistics = jax.local_devices()[0].memory_stats()
    if not statistics:  # CPU: the devices share the machine's memory
        return free_memory() // jax.local_device_count()
    return statistics["bytes_limit"] - statistics["bytes_in_use"]
