"""What every way of learning a category can do, and what it gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from dtsnet_jax.devices.mesh import map_batches
from dtsnet_jax.evaluation.scoring import ScoringOptions
from dtsnet_jax.inputs.category import CategoryImages
from dtsnet_jax.seed_run import SeedRun
from dtsnet_jax.training.schedule import Length

Parts = dict[str, Any]  # the arrays that answer: 'teacher', and what the learner adds to it
ANY = -1  # in the shapes of ``Learner.parts_like``, a size that is free


class Answer(NamedTuple):
    """What is said of several images.

    Attributes:
      maps: score maps; larger is more anomalous.
      features: the teacher's features, as ``dtsnet_jax.model.encoder.mean_features`` has them.
    """

    maps: Float[Array, "b height width"]
    features: Float[Array, "b c"]


@dataclass(frozen=True)
class Fitted:
    """What has been learned of one category.

    Attributes:
      parts: the arrays, on the devices; with them ``Learner.answer`` says the same.
      answer: of (b, height, width, 3) uint8 on the devices.
      step: steps that its weights have seen; 0 where there is no training.
      trained_to: the step that training has reached, ``step`` unless an earlier one was chosen.
      seconds: what learning took.
      mesh: the devices.
    """

    parts: Parts
    answer: Callable[[jax.Array], Answer]
    step: int
    trained_to: int
    seconds: float
    mesh: Mesh

    def answers(self, images: np.ndarray, *, batch_size: int) -> Answer:
        """What is said of every image, as NumPy arrays.

        Args:
          images: (n, height, width, 3) uint8.
          batch_size: images a time.
        """
        return map_batches(self.answer, images, batch_size=batch_size, mesh=self.mesh)

    def score_maps(self, images: np.ndarray, *, batch_size: int) -> np.ndarray:
        """The score map of every image, (n, height, width) float32, see ``answers``."""
        return self.answers(images, batch_size=batch_size).maps


@runtime_checkable
class Learner(Protocol):
    """Learns categories, one after the other; compiled programs serve all of them."""

    def last_step(self, images: int, length: Length) -> int:
        """The step after which a category of so many training images is learned."""

    def fit(
        self, images: CategoryImages, run: SeedRun, *, length: Length, scoring: ScoringOptions
    ) -> None:
        """Learns a category, continuing where an earlier start stopped; ``load`` finds it then.

        Args:
          images: the category's images.
          run: where weights and records go; all randomness follows from its seed.
          length: how long to train.
          scoring: of measurements during training.

        Raises:
          UserError: a file cannot be used, or training diverged.
        """

    def load(self, images: CategoryImages, run: SeedRun, scoring: ScoringOptions) -> Fitted:
        """Loads what has been learned.

        Args:
          images: the category's images.
          run: where the weights lie.
          scoring: how features become score maps.

        Raises:
          UserError: nothing has been learned.
        """

    def parts_like(self, scoring: ScoringOptions) -> Parts:
        """Shapes and dtypes of ``Fitted.parts``; nothing is computed."""

    def answer(
        self, parts: Parts, images: UInt8[Array, "b height width 3"], scoring: ScoringOptions
    ) -> Answer:
        """Answers with the arrays of ``Fitted.parts``; a pure function, to be compiled or not."""
