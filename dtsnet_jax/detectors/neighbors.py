"""The baseline: distance to the nearest of the patches that good images consist of.

After PatchCore (Roth et al., CVPR 2022), without its re-weighting of the image score: features of
the teacher's levels, averaged over 3 × 3 positions, resized to one grid and joined; a coreset of
those of the good images, chosen by greedy k-centre; the score of a position is its distance to the
nearest vector of the coreset. Nothing is trained. Unlike there, every level's vectors are first
scaled to length 1, so that like Eq. 9 it compares directions and not brightness.
"""

import struct
import time
import zipfile
import zlib
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from data.files import partial_path
from data.memory import format_bytes
from dtsnet_jax.detectors.fitted import ANY, Answer, Fitted, Parts
from dtsnet_jax.devices.mesh import fetch, map_batches, replicate
from dtsnet_jax.devices.processes import from_first, is_first, wait_for_all
from dtsnet_jax.errors import UserError, first_line
from dtsnet_jax.evaluation.scoring import ScoringOptions, upsample
from dtsnet_jax.inputs.category import CategoryImages
from dtsnet_jax.inputs.sample import NormalSample
from dtsnet_jax.keys import stream
from dtsnet_jax.model.encoder import Features, mean_features, normalize_images
from dtsnet_jax.seed_run import SeedRun
from dtsnet_jax.training.schedule import Length
from dtsnet_jax.weights.teacher import Teacher, encoder_shapes

HIGHEST = jax.lax.Precision.HIGHEST
CANDIDATES_PER_CENTER = 10  # the coreset is chosen among so many times its size, drawn at random
_DAMAGES = (
    *(EOFError, KeyError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError),
    *(struct.error, zipfile.BadZipFile, zlib.error),
)
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
def greedy_k_center(vectors: Float[Array, "n d"], count: int, key: jax.Array) -> Int[Array, " m"]:
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
        products = jnp.matmul(vectors, center, precision=HIGHEST)
        distance = squares - 2 * products + jnp.sum(center**2)
        nearest = jnp.minimum(nearest, distance)
        return chosen.at[i].set(jnp.argmax(nearest)), nearest

    chosen = jnp.zeros(count, jnp.int32).at[0].set(first)
    start = jnp.full(len(vectors), jnp.inf, vectors.dtype)
    return jax.lax.fori_loop(1, count, choose, (chosen, start))[0]


def nearest_distance(
    vectors: Float[Array, "... d"],
    bank: Float[Array, "m d"],
    left_out: Bool[Array, " m"] | None = None,
) -> Float[Array, "..."]:
    """Euclidean distance of each vector to the nearest of the bank that is not left out.

    A small difference of large numbers: products keep float32's digits on GPUs too, where TF32 is
    the default.
    """
    squares = jnp.sum(bank**2, axis=1)
    if left_out is not None:
        squares = jnp.where(left_out, jnp.inf, squares)
    products = jnp.matmul(vectors, bank.T, precision=HIGHEST)
    nearest = jnp.min(squares - 2 * products, axis=-1)
    return jnp.sqrt(jnp.maximum(jnp.sum(vectors**2, axis=-1) + nearest, 0.0))


class NeighborLearner:
    """The teacher and the functions that find neighbours, a ``detectors.fitted.Learner``."""

    def __init__(
        self,
        teacher: Teacher,
        *,
        levels: tuple[int, ...],
        coreset_size: int,
        batch_size: int,
        image_shape: tuple[int, int],
    ):
        """Compiles nothing yet.

        Args:
          teacher: whose features are compared.
          levels: which of 1, 2, 3, the finest first.
          coreset_size: vectors that are kept.
          batch_size: images a time.
          image_shape: height and width in pixels.
        """
        self._teacher, self._coreset_size, self._batch_size = teacher, coreset_size, batch_size
        self._channels = sum(teacher.backbone.channels[level - 1] for level in levels)
        graph, _ = nnx.split(teacher.encoder)

        def features_of(arrays, images):
            return nnx.merge(graph, arrays)(normalize_images(images, teacher.backbone))

        def vectors_of(arrays, images):
            return patch_vectors(features_of(arrays, images), levels)

        def answer(arrays, bank, smoothing, images, left_out=None):
            features = features_of(arrays, images)
            distances = nearest_distance(patch_vectors(features, levels), bank, left_out)
            return Answer(upsample(distances, image_shape, smoothing), mean_features(features))

        self._vectors = partial(jax.jit(vectors_of), teacher.arrays)
        self._answer = jax.jit(answer, static_argnums=2)

    def last_step(self, images: int, length: Length) -> int:
        """Nothing is trained."""
        del images, length
        return 0

    def fit(
        self, images: CategoryImages, run: SeedRun, *, length: Length, scoring: ScoringOptions
    ) -> None:
        """Fills the bank of a category.

        The candidates, the projection and the first centre follow from the run's seed.
        """
        del length, scoring
        started = time.monotonic()
        bank, owners = self._choose_bank(images, run.seed)
        if is_first():
            with partial_path(run.bank) as partial_file, partial_file.open("wb") as file:
                np.savez(file, bank=bank, owners=owners, seconds=time.monotonic() - started)
        wait_for_all("bank")

    def load(self, images: CategoryImages, run: SeedRun, scoring: ScoringOptions) -> Fitted:
        """Loads a bank."""
        del images
        if not from_first(run.bank.is_file):
            raise UserError(
                f"'{run.bank}' does not exist; fill it first with --job=train and the same "
                "--workdir, or where it has been deleted, a new one."
            )
        mesh = self._teacher.mesh
        bank, _, seconds = read_bank(run.bank)
        bank = replicate(bank, mesh)
        parts = {"teacher": self._teacher.arrays, "bank": bank}
        return Fitted(parts, partial(self.answer, parts, scoring=scoring), 0, 0, seconds, mesh)

    def parts_like(self) -> Parts:
        """As ``Learner.parts_like``."""
        bank = jax.ShapeDtypeStruct((ANY, self._channels), jnp.float32)
        return {"teacher": encoder_shapes(self._teacher.encoder), "bank": bank}

    def answer(self, parts: Parts, images: jax.Array, scoring: ScoringOptions) -> Answer:
        """As ``Learner.answer``."""
        return self._answer(parts["teacher"], parts["bank"], scoring.smoothing, images)

    def maps_of_others(
        self, sample: NormalSample, run: SeedRun, scoring: ScoringOptions
    ) -> Float[np.ndarray, "n height width"]:
        """Score maps of training images as if their photographs had not been learned.

        Vectors of an image's own photograph are left out, unless the bank has no others.
        """
        bank, owners, _ = read_bank(run.bank)
        bank = replicate(bank, self._teacher.mesh)
        maps = []
        for image, owner in zip(sample.images, sample.owners, strict=True):
            own = owners == owner
            others = bank, scoring.smoothing, image[None], own & ~own.all()
            maps.append(fetch(self._answer(self._teacher.arrays, *others).maps))
        return np.concatenate(maps)

    def _choose_bank(
        self, images: CategoryImages, seed: int
    ) -> tuple[Float[np.ndarray, "m d"], Int[np.ndarray, " m"]]:
        """The vectors that are kept, and the number of the photograph that each is of."""
        normal = images.training.normal
        generator = np.random.default_rng(seed)
        per_image = -(-self._coreset_size * CANDIDATES_PER_CENTER // len(normal))
        parts = []
        for start in range(0, len(normal), self._batch_size):
            batch = normal[start : start + self._batch_size]
            vectors = map_batches(
                self._vectors, batch, batch_size=self._batch_size, mesh=self._teacher.mesh
            )
            for one in vectors.reshape(len(batch), -1, vectors.shape[-1]):
                rows = generator.permutation(len(one))[:per_image]
                parts.append(one[rows])  # a copy: a view would keep all of them
        candidates = np.concatenate(parts)
        owners = np.repeat(images.owners(), len(parts[0]))  # as many of every image
        count = min(self._coreset_size, len(candidates))
        print(
            f"{images.catalog.category}: choosing {count} of {len(candidates)} vectors "
            f"({format_bytes(candidates.nbytes)})"
        )
        chosen = greedy_k_center(_projected(candidates, seed), count, stream(seed, "centers"))
        return candidates[np.asarray(chosen)], owners[np.asarray(chosen)]


def read_bank(
    path: Path,
) -> tuple[Float[np.ndarray, "m d"], Int[np.ndarray, " m"], float]:
    """The vectors, the number of the photograph that each is of, and what choosing them took."""
    try:
        with np.load(path) as file:
            bank, owners, seconds = (np.asarray(file[n]) for n in ("bank", "owners", "seconds"))
        if bank.ndim != 2 or owners.shape != bank.shape[:1] or not np.isfinite(bank).all():
            raise ValueError(f"it has the shapes {bank.shape} and {owners.shape}")
        return bank, owners, float(seconds)
    except _DAMAGES as error:
        raise UserError(
            f"'{path}' is damaged ({first_line(error)}); restore it, or start a new run with "
            "--workdir=DIR."
        ) from error


def _projected(vectors: np.ndarray, seed: int) -> jax.Array:
    """The vectors in fewer dimensions, which keep distances nearly as they are."""
    if vectors.shape[1] <= PROJECTED:
        return jnp.asarray(vectors)
    from sklearn.random_projection import GaussianRandomProjection  # slow to import, seldom needed

    projection = GaussianRandomProjection(PROJECTED, random_state=seed)
    return jnp.asarray(projection.fit_transform(vectors), jnp.float32)
