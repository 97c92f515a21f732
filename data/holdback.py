"""Which good images are kept for testing where nobody has said it."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import ceil

from data.catalog import Sample
from dtsnet_jax.errors import UserError

WAYS = ("spread", "group", "last")


def hold_back(
    samples: Sequence[Sample], share: float, by: str
) -> tuple[list[Sample], list[Sample]]:
    """Splits good images into those to learn from and those to test on.

    Args:
      samples: in the order of their names.
      share: of the images, from 0 to below 1, that is held back; if it is not 0, at least one is.
      by: 'spread' takes images at equal distances, so that every variant of the product that the
        order of names goes through is learned; 'group' takes whole groups at equal distances, for
        images that would give each other away; 'last' takes the end, for images in the order of
        time.

    Returns:
      The images to learn from and those to test on, each in the order given.

    Raises:
      UserError: by group, but there is only one.
    """
    count = ceil(Fraction(str(share)) * len(samples))  # 0.29 of 100 is 29, which floats miss
    if not count:
        return list(samples), []
    total = len(samples)
    if by == "spread":
        held = [(i + 1) * count // total > i * count // total for i in range(total)]
    elif by == "last":
        held = [i >= total - count for i in range(total)]
    else:
        groups = _groups_to_hold_back(samples, count)
        held = [sample.group in groups for sample in samples]
    train = [sample for sample, out in zip(samples, held, strict=True) if not out]
    return train, [sample for sample, out in zip(samples, held, strict=True) if out]


def _groups_to_hold_back(samples: Sequence[Sample], count: int) -> set[str]:
    """Holds a group back where that brings all groups so far nearer to the share."""
    sizes = Counter(sample.group for sample in samples)
    if len(sizes) == 1:
        raise UserError(
            f"data.held_back_by is 'group', but all {len(samples)} good images, such as "
            f"'{samples[0].path}', are one group; sort them into subfolders or fill the column "
            "'group' of their table, or set --config.data.held_back_by=spread."
        )
    held, seen, held_size = set(), 0, 0
    for group, size in sizes.items():
        seen += size
        wanted = count * seen / len(samples)
        if abs(held_size + size - wanted) < abs(held_size - wanted):
            held.add(group)
            held_size += size
    if not held:
        held = {min(sizes, key=lambda group: abs(sizes[group] - count))}
    elif len(held) == len(sizes):
        held.remove(min(sizes, key=lambda group: abs(len(samples) - sizes[group] - count)))
    return held
