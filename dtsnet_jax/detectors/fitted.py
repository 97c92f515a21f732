"""What every detector can do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from dtsnet_jax.devices.mesh import map_batches
from dtsnet_jax.evaluation.scoring import ScoringOptions
from dtsnet_jax.inputs.category import CategoryImages
from dtsnet_jax.seed_run import SeedRun
from dtsnet_jax.training.schedule import Length


@dataclass(frozen=True)
class Fitted:
    """A detector that has learned one category.

    Attributes:
      score: (b, height, width, 3) uint8 on the devices to (b, height, width) score maps.
      step: steps that its weights have seen; 0 where there is no training.
      trained_to: the step that training has reached, ``step`` unless an earlier one was chosen.
      seconds: what learning took.
      mesh: the devices.
    """

    score: Callable[[jax.Array], jax.Array]
    step: int
    trained_to: int
    seconds: float
    mesh: Mesh

    def score_maps(self, images: np.ndarray, *, batch_size: int) -> np.ndarray:
        """The score map of every image.

        Args:
          images: (n, height, width, 3) uint8.
          batch_size: images a time.

        Returns:
          (n, height, width) float32.
        """
        return map_batches(self.score, images, batch_size=batch_size, mesh=self.mesh)


class Detector(Protocol):
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
