"""The baseline: distance to the nearest of the patches that good images consist of.

After PatchCore (Roth et al., CVPR 2022), without its re-weighting of the image score: features of
the teacher's levels, averaged over 3 × 3 positions, resized to one grid and joined; a coreset of
those of the good images, chosen by greedy k-centre; the score of a position is its distance to the
nearest vector of the coreset. Nothing is trained. Unlike there, every level's vectors are first
damped, so that brightness and contrast count less than directions, as they do in Eq. 9.
"""

import struct
import time
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from data.files import partial_path
from data.memory import format_bytes
from dtsnet_jax.detectors.fitted import ANY, Answer, Fitted, Parts
from dtsnet_jax.detectors.lengths import usual_damping
from dtsnet_jax.devices.mesh import fetch, map_batches, replicate
from dtsnet_jax.devices.processes import from_first, is_first, wait_for_all
from dtsnet_jax.errors import UserError, first_line
from dtsnet_jax.evaluation.scoring import ScoringOptions, upsample
from dtsnet_jax.inputs.category import CategoryImages
from dtsnet_jax.inputs.sample import SAMPLE, NormalSample
from dtsnet_jax.keys import stream
from dtsnet_jax.model.encoder import Features, encode_images, mean_features
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


def patch_vectors(
    features: Features, levels: tuple[int, ...], damping: Float[Array, "3"]
) -> Float[Array, "b h w c"]:
    """Dampens each level, averages it over 3 × 3 positions, resizes it to one grid, and joins.

    Args:
      features: of the teacher.
      levels: which of 1, 2, 3, the finest first.
      damping: of each level; vectors v become v / √(|v|² + damping), see ``usual_damping``.
    """
    height, width = features[levels[0] - 1].shape[1:3]
    parts = []
    for level in levels:
        vectors = features[level - 1].astype(jnp.float32)
        squares = jnp.sum(vectors**2, axis=-1, keepdims=True)
        vectors = vectors * jax.lax.rsqrt(squares + damping[level - 1])
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


class Bank(NamedTuple):
    """What is kept of the good images.

    Attributes:
      vectors: (m, d) float32.
      owners: (m,) of each the number of the photograph that it is of.
      damping: (3,) float32, as for ``patch_vectors``.
      seconds: what choosing them took.
    """

    vectors: np.ndarray
    owners: np.ndarray
    damping: np.ndarray
    seconds: float


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

        features_of = partial(encode_images, graph, teacher.backbone)

        def vectors_of(arrays, damping, images):
            return patch_vectors(features_of(arrays, images), levels, damping)

        def answer(arrays, damping, bank, smoothing, images, left_out=None):
            features = features_of(arrays, images)
            vectors = patch_vectors(features, levels, damping)
            distances = nearest_distance(vectors, bank, left_out)
            return Answer(upsample(distances, image_shape, smoothing), mean_features(features))

        self._vectors = jax.jit(vectors_of)
        self._answer = jax.jit(answer, static_argnums=3)

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
        sample = images.normal_sample(SAMPLE)
        damping = usual_damping(self._teacher, sample, batch_size=self._batch_size)
        vectors, owners = self._choose_vectors(images, damping, run.seed)
        bank = Bank(vectors, owners, damping, time.monotonic() - started)
        if is_first():
            with partial_path(run.bank) as partial_file, partial_file.open("wb") as file:
                np.savez(file, **bank._asdict())
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
        bank = read_bank(run.bank)
        parts = {"teacher": self._teacher.arrays}
        parts |= replicate({"bank": bank.vectors, "bank_damping": bank.damping}, mesh)
        answer = partial(self.answer, parts, scoring=scoring)
        return Fitted(parts, answer, 0, 0, bank.seconds, mesh)

    def parts_like(self, scoring: ScoringOptions) -> Parts:
        """As ``Learner.parts_like``."""
        del scoring
        return {
            "teacher": encoder_shapes(self._teacher.encoder),
            "bank": jax.ShapeDtypeStruct((ANY, self._channels), jnp.float32),
            "bank_damping": jax.ShapeDtypeStruct((3,), jnp.float32),
        }

    def answer(self, parts: Parts, images: jax.Array, scoring: ScoringOptions) -> Answer:
        """As ``Learner.answer``."""
        arrays = parts["teacher"], parts["bank_damping"], parts["bank"]
        return self._answer(*arrays, scoring.smoothing, images)

    def maps_of_others(
        self, sample: NormalSample, run: SeedRun, scoring: ScoringOptions
    ) -> Float[np.ndarray, "n height width"]:
        """Score maps of training images as if their photographs had not been learned.

        Vectors of an image's own photograph are left out, unless the bank has no others.
        """
        bank = read_bank(run.bank)
        arrays = replicate((bank.damping, bank.vectors), self._teacher.mesh)
        maps = []
        for image, owner in zip(sample.images, sample.owners, strict=True):
            own = bank.owners == owner
            others = *arrays, scoring.smoothing, image[None], own & ~own.all()
            maps.append(fetch(self._answer(self._teacher.arrays, *others).maps))
        return np.concatenate(maps)

    def _choose_vectors(
        self, images: CategoryImages, damping: np.ndarray, seed: int
    ) -> tuple[Float[np.ndarray, "m d"], Int[np.ndarray, " m"]]:
        """The vectors that are kept, and the number of the photograph that each is of."""
        normal = images.training.normal
        vectors_of = partial(self._vectors, self._teacher.arrays, damping)
        generator = np.random.default_rng(seed)
        per_image = -(-self._coreset_size * CANDIDATES_PER_CENTER // len(normal))
        parts = []
        for start in range(0, len(normal), self._batch_size):
            batch = normal[start : start + self._batch_size]
            vectors = map_batches(
                vectors_of, batch, batch_size=self._batch_size, mesh=self._teacher.mesh
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


def read_bank(path: Path) -> Bank:
    """What ``NeighborLearner.fit`` has written.

    Raises:
      UserError: the file is damaged, or of another version of this program.
    """
    try:
        with np.load(path) as file:
            vectors, owners, damping, seconds = (np.asarray(file[n]) for n in Bank._fields)
        shapes = vectors.shape, owners.shape, damping.shape
        if vectors.ndim != 2 or shapes[1:] != (vectors.shape[:1], (3,)):
            raise ValueError(f"it has the shapes {', '.join(map(str, shapes))}")
        if not (np.isfinite(vectors).all() and np.isfinite(damping).all() and damping.min() > 0):
            raise ValueError("not all of its numbers are finite, or damping is not above 0")
        return Bank(vectors, owners, damping, float(seconds))
    except _DAMAGES as error:
        raise UserError(
            f"'{path}' is damaged or of another version of this program ({first_line(error)}); "
            "restore it, or start a new run with --workdir=DIR."
        ) from error


def _projected(vectors: np.ndarray, seed: int) -> jax.Array:
    """The vectors in fewer dimensions, which keep distances nearly as they are."""
    if vectors.shape[1] <= PROJECTED:
        return jnp.asarray(vectors)
    from sklearn.random_projection import GaussianRandomProjection  # slow to import, seldom needed

    projection = GaussianRandomProjection(PROJECTED, random_state=seed)
    return jnp.asarray(projection.fit_transform(vectors), jnp.float32)
