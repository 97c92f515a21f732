"""The baseline: distance to the nearest of the patches that good images consist of.

After PatchCore (Roth et al., CVPR 2022), without its re-weighting of the image score: features of
the teacher's levels, averaged over 3 × 3 positions, resized to one grid and joined; a coreset of
those of the good images, chosen by greedy k-centre; the score of a position is its distance to the
nearest vector of the coreset. Nothing is trained. Unlike there, every level's vectors are first
scaled to length 1, so that like Eq. 9 it compares directions and not brightness.
"""

import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from data.memory import format_bytes
from dtsnet_jax.errors import UserError
from dtsnet_jax.inputs import CategoryImages
from dtsnet_jax.measure import Fitted
from dtsnet_jax.mesh import data_mesh, map_batches, replicate
from dtsnet_jax.model.backbones import get_backbone
from dtsnet_jax.model.encoder import Features, normalize_images
from dtsnet_jax.processes import is_first, wait_for_all
from dtsnet_jax.scoring import upsample
from dtsnet_jax.weights.convert import load_teacher

BANK_FILE = "bank.npz"
CANDIDATES_PER_CENTER = 10  # the coreset is chosen among so many times its size, drawn at random
PROJECTED = 128  # dimensions in which centres are chosen (Johnson–Lindenstrauss), as published


def patch_vectors(features: Features, levels: tuple[int, ...]) -> Float[Array, "b h w c"]:
    """Normalises each level, averages it over 3 × 3 positions, resizes it to one grid, and joins.

    Args:
      features: of the teacher.
      levels: which of 1, 2, 3, the finest first.
    """
    height, width = features[levels[0] - 1].shape[1:3]
    parts = []
    for level in levels:
        vectors = features[level - 1].astype(jnp.float32)
        squares = jnp.sum(vectors**2, axis=-1, keepdims=True)
        vectors = vectors * jax.lax.rsqrt(jnp.maximum(squares, 1e-24))
        pooled = nnx.avg_pool(vectors, (3, 3), (1, 1), "SAME", count_include_pad=False)
        shape = (pooled.shape[0], height, width, pooled.shape[-1])
        parts.append(jax.image.resize(pooled, shape, "bilinear"))
    return jnp.concatenate(parts, axis=-1)


@partial(jax.jit, static_argnames="count")
def greedy_k_center(vectors: Float[Array, "n d"], count: int, key: jax.Array) -> Int[Array, "m"]:
    """Chooses vectors one by one, each the farthest from those chosen before (Gonzalez, 1985).

    Args:
      vectors: what to choose from.
      count: how many, at most n.
      key: PRNG key of the first choice.

    Returns:
      Their indices, in the order of choice.
    """
    squares = jnp.sum(vectors**2, axis=1)
    first = jax.random.randint(key, (), 0, len(vectors))

    def choose(i, carry):
        chosen, nearest = carry
        center = vectors[chosen[i - 1]]
        distance = squares - 2 * vectors @ center + jnp.sum(center**2)
        nearest = jnp.minimum(nearest, distance)
        return chosen.at[i].set(jnp.argmax(nearest)), nearest

    chosen = jnp.zeros(count, jnp.int32).at[0].set(first)
    start = jnp.full(len(vectors), jnp.inf, vectors.dtype)
    return jax.lax.fori_loop(1, count, choose, (chosen, start))[0]


def nearest_distance(
    vectors: Float[Array, "... d"], bank: Float[Array, "m d"]
) -> Float[Array, "..."]:
    """Euclidean distance of each vector to the nearest of the bank."""
    products = vectors @ bank.T
    squares = jnp.sum(vectors**2, axis=-1) + jnp.min(
        jnp.sum(bank**2, axis=1) - 2 * products, axis=-1
    )
    return jnp.sqrt(jnp.maximum(squares, 0.0))


class NeighborDetector:
    """The teacher and the compiled functions that find neighbours."""

    def __init__(self, config: ConfigDict):
        """Loads the teacher.

        Raises:
          UserError: the teacher's weights are missing or unusable.
        """
        self._config = config
        self.mesh = data_mesh()
        backbone = get_backbone(config.encoder.name)
        graph, arrays = nnx.split(load_teacher(config.encoder.name, config.encoder.weights))
        teacher = replicate(nnx.as_pure(arrays), self.mesh)
        levels = tuple(sorted(config.knn.levels))

        def vectors_of(arrays, images):
            return patch_vectors(
                nnx.merge(graph, arrays)(normalize_images(images, backbone)), levels
            )

        def score(arrays, bank, images):
            distances = nearest_distance(vectors_of(arrays, images), bank)
            return upsample(distances, config.data.image_size, config.scoring.smoothing)

        self._vectors = partial(jax.jit(vectors_of), teacher)
        self._score = partial(jax.jit(score), teacher)

    def fit(self, images: CategoryImages, directory: Path, *, seed: int, epochs: int) -> Fitted:
        """Fills the bank of a category, or loads it where it has been filled already.

        Args:
          images: the category's images.
          directory: where the bank goes.
          seed: the candidates, the projection and the first centre follow from it.
          epochs: not used; there is no training.
        """
        del epochs
        if not (directory / BANK_FILE).is_file():
            started = time.monotonic()
            bank = self._bank(images, np.random.default_rng(seed), jax.random.key(seed))
            if is_first():
                directory.mkdir(parents=True, exist_ok=True)
                partial_file = directory / f"partial-{BANK_FILE}"
                np.savez(partial_file, bank=bank, seconds=time.monotonic() - started)
                partial_file.replace(directory / BANK_FILE)
            wait_for_all("bank")
        return self.load(images, directory)

    def load(self, images: CategoryImages, directory: Path) -> Fitted:
        """Loads a bank.

        Raises:
          UserError: there is none.
        """
        del images
        if not (directory / BANK_FILE).is_file():
            raise UserError(
                f"'{directory / BANK_FILE}' does not exist; fill it first with --job=train and the "
                "same --workdir."
            )
        with np.load(directory / BANK_FILE) as file:
            bank, seconds = replicate(file["bank"], self.mesh), float(file["seconds"])
        return Fitted(partial(self._score, bank), 0, seconds, self.mesh)

    def _bank(self, images: CategoryImages, generator, key) -> np.ndarray:
        config, catalog = self._config, images.catalog
        normal = images.training.normal
        wanted = config.knn.coreset_size * CANDIDATES_PER_CENTER
        per_image = -(-wanted // len(normal))
        parts = []
        for start in range(0, len(normal), config.scoring.batch_size):
            batch = normal[start : start + config.scoring.batch_size]
            vectors = map_batches(
                self._vectors, batch, batch_size=config.scoring.batch_size, mesh=self.mesh
            )
            vectors = vectors.reshape(len(batch), -1, vectors.shape[-1])
            for one in vectors:
                parts.append(generator.permutation(one)[:per_image])
        candidates = np.concatenate(parts)
        count = min(config.knn.coreset_size, len(candidates))
        print(
            f"{catalog.category}: choosing {count} of {len(candidates)} vectors "
            f"({format_bytes(candidates.nbytes)})"
        )
        projection = generator.normal(size=(candidates.shape[1], PROJECTED)) / np.sqrt(PROJECTED)
        projected = jnp.asarray(candidates @ projection.astype(np.float32))
        return candidates[np.asarray(greedy_k_center(projected, count, key))]
