"""The teacher's features of the training images, kept on the devices.

Where nothing is augmented beside the synthesised anomalies, f_T,n of an image never changes.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, UInt8

from data.memory import format_bytes, free_memory
from dtsnet_jax.devices.mesh import split_batch, split_whole
from dtsnet_jax.devices.processes import agreed, processes_here
from dtsnet_jax.errors import UserError
from dtsnet_jax.model.encoder import Features
from dtsnet_jax.seed_run import SeedRun
from dtsnet_jax.training.programs import Programs
from dtsnet_jax.training.schedule import Schedule

ImageFeatures = tuple[Float[Array, "images ..."], ...]  # of every level
BatchedFeatures = tuple[Float[Array, "n b ..."], ...]
UNDECIDED = -1.0
_SHARE = 0.5  # of a device's free memory; the rest is for training


class FeatureCache:
    """f_T,n of every training image, a copy on each device."""

    def __init__(
        self,
        teacher: Callable[[Array], Features],
        images: UInt8[np.ndarray, "n h w 3"],
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
        self._take = jax.jit(_take, out_shardings=NamedSharding(mesh, PartitionSpec(None, "data")))

    def take(self, index: Int[Array, "n b"]) -> BatchedFeatures:
        """The features of several batches of images, each (n, b, ...), split over the devices."""
        return self._take(self._features, index)


def _insert(cache: ImageFeatures, features: Features, start: Int[Array, ""]) -> ImageFeatures:
    update = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
    return tuple(map(update, cache, features))


def _take(cache: ImageFeatures, index: Int[Array, "n b"]) -> BatchedFeatures:
    return tuple(level[index] for level in cache)


def _one_batch(
    teacher: Callable[[Array], Features], images: np.ndarray, batch_size: int
) -> tuple[jax.ShapeDtypeStruct, ...]:
    shape = jax.ShapeDtypeStruct((batch_size, *images.shape[1:]), images.dtype)
    return jax.eval_shape(teacher, shape)


def open_cache(
    programs: Programs, images: UInt8[np.ndarray, "n h w 3"], run: SeedRun, schedule: Schedule
) -> FeatureCache | None:
    """Fills the cache of a run if the run keeps one.

    Features that are computed in a batch of another size differ in their last digits. So that a run
    that is continued ends as if it had never been interrupted, what was decided when it began is
    stored with it and stands, whatever memory is free now.

    Args:
      programs: the teacher.
      images: the training images.
      run: where the decision is stored.
      schedule: with the batch size, which no start may change.

    Returns:
      The cache, or None where the features are computed in every step.

    Raises:
      UserError: the run began with a cache, for which there is no longer room.
    """
    teacher = partial(programs.teacher_step, programs.teacher.arrays)
    stored = run.record().get("cached_features")
    decided = agreed(UNDECIDED if stored is None else stored)
    if decided == UNDECIDED:
        decided = schedule.cache_teacher and _fits(teacher, images, run.category)
        run.decide_caching(bool(decided))
    elif decided and not schedule.cache_teacher:
        print(f"{run.name}: the run began with a cache; without, the last digits may differ")
        decided = False
    elif decided and not _fits(teacher, images, run.category, share=1.0):
        raise UserError(
            f"'{run.directory}' began with the teacher's features in memory, where there is no "
            "longer room for them; make room, or go on without with "
            "--config.train.cache_teacher=False, which changes the last digits of the weights."
        )
    if not decided:
        return None
    return FeatureCache(teacher, images, batch_size=schedule.batch_size, mesh=programs.teacher.mesh)


def send(
    batch: dict[str, np.ndarray], cache: FeatureCache | None, mesh: Mesh
) -> dict[str, Array | BatchedFeatures]:
    """Sends to the devices what a step uses of its batches.

    Args:
      batch: as ``CategoryImages.batches`` yields them.
      cache: of the features of the normal images, which are sent themselves where it is None.
      mesh: the devices.
    """
    used = ("normal" if cache is None else "index", "synthetic")
    inputs = split_batch({name: batch[name] for name in used if name in batch}, mesh)
    if cache is not None:
        inputs["features"] = cache.take(inputs.pop("index"))
    return inputs


def _fits(
    teacher: Callable[[Array], Features],
    images: UInt8[np.ndarray, "n h w 3"],
    category: str,
    share: float = _SHARE,
) -> bool:
    """Predicts the bytes of a cache on each device, prints them, and says whether they fit."""
    per_image = sum(level.size * level.dtype.itemsize for level in _one_batch(teacher, images, 1))
    needed, free = per_image * len(images), _free_device_memory()
    fits = bool(np.all(multihost_utils.process_allgather(needed <= share * free)))
    print(
        f"{category}: the teacher's features of {len(images)} training images take "
        f"{format_bytes(needed)} on each device, {format_bytes(free)} are free; "
        + ("kept there" if fits else "there is no room for them")
    )
    return fits


def _free_device_memory() -> int:
    """Bytes that are free on each of this process's devices."""
    statistics = jax.local_devices()[0].memory_stats()
    if not statistics:  # CPU: the devices share the machine's memory
        return free_memory() // (jax.local_device_count() * processes_here())
    return statistics["bytes_limit"] - statistics["bytes_in_use"]
