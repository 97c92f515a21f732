"""What happens when during training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Length(NamedTuple):
    """How long to train.

    Attributes:
      epochs: passes over the training images; 0 where ``visits`` says it.
      visits: images that are seen, each as often as it comes; whole steps are made of them.
    """

    epochs: int
    visits: int

    def images_seen(self, images: int) -> int:
        """How many images are seen where there are so many."""
        return self.visits or self.epochs * images

    def __str__(self) -> str:
        return f"{self.epochs} epochs" if self.epochs else f"{self.visits} image visits"


@dataclass(frozen=True)
class Schedule:
    """The section ``train`` of ``configs/default.py``, as far as the loop needs it.

    Attributes:
      batch_size: images a batch.
      accumulate: batches a step.
      learning_rate: for messages.
      log_every: steps between two records.
      evaluate_every: epochs between two measurements; 0 for none.
      checkpoint_minutes: between two checkpoints.
      keep_checkpoints: how many of the newest are kept.
      keep_best: whether the state that measures best on the test images is kept.
      cache_teacher: whether the teacher's features may be kept on the devices.
      profile: the first and the last step to trace, or () for none.
    """

    batch_size: int
    accumulate: int
    learning_rate: float
    log_every: int
    evaluate_every: int
    checkpoint_minutes: float
    keep_checkpoints: int
    keep_best: bool
    cache_teacher: bool
    profile: tuple[int, ...] = ()

    @property
    def images_a_step(self) -> int:
        """Images that one update has seen."""
        return self.batch_size * self.accumulate

    def epoch_ends(self, images: int, length: Length) -> list[int]:
        """The step that ends each epoch of so many images; it may reach into the next one.

        Where a number of visits says how long to train, the last epoch may be cut short, and counts
        as one.
        """
        visits = length.images_seen(images)
        ends = range(images, visits + images, images)
        return [-(-min(end, visits) // self.images_a_step) for end in ends]

    def measured_steps(self, epoch_ends: Sequence[int]) -> dict[int, int]:
        """The steps after which the test images are measured, and the epochs that they end."""
        last = len(epoch_ends)
        if not self.evaluate_every:
            return {}
        return {
            step: epoch
            for epoch, step in enumerate(epoch_ends, start=1)
            if epoch == last or epoch % self.evaluate_every == 0
        }
