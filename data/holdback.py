"""Which good images are kept for testing, where nobody has said it, and for calibration."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import ceil

from data.catalog import Sample
from dtsnet_jax.errors import UserError

WAYS = ("spread", "group", "last")
_GOLDEN = (5**0.5 - 1) / 2  # the ratio whose multiples fill the fractions most evenly


def hold_back(
    samples: Sequence[Sample],
    share: float,
    by: str,
    *,
    train: Sequence[Sample] = (),
    test: Sequence[Sample] = (),
    field: str = "data.held_back",
) -> tuple[list[Sample], list[Sample]]:
    """Splits good images into those to learn from and those to keep for something else.

    Args:
      samples: in the order of their names.
      share: of the images, from 0 to below 1, that is held back; if it is not 0, at least one is.
      by: 'spread' takes one image of each of as many stretches of equal length, here its first,
        there its last, so that every variant of the product that the order of names goes through is
        learned, in whatever rhythm; 'group' takes whole groups at equal distances, for images that
        would give each other away; 'last' takes the end, for images in the order of time.
      train: further images that are learned from, whose groups are not held back.
      test: further images that are tested on, whose groups are held back first.
      field: of the configuration, which says the share.

    Returns:
      The images to learn from and those held back, each in the order given.

    Raises:
      UserError: fewer than two images remain to learn from; by group, but there is only one.
    """
    count = ceil(Fraction(str(share)) * len(samples))  # 0.29 of 100 is 29, which floats miss
    if not count:
        return list(samples), []
    total = len(samples)
    if by == "spread":
        places = {_place(stretch, count, total) for stretch in range(count)}
        held = [i in places for i in range(total)]
    elif by == "last":
        held = [i >= total - count for i in range(total)]
    else:
        groups = _groups_to_hold_back(samples, count, train, test)
        held = [sample.group in groups for sample in samples]
    learned = [sample for sample, out in zip(samples, held, strict=True) if not out]
    if any(held) and len(train) + len(learned) < 2:
        raise UserError(
            f"{field}={share} leaves {len(learned)} training images of {total} "
            f"('{samples[0].path}' is the first); at least 2 are needed: hold back less, or add "
            "good images."
        )
    return learned, [sample for sample, out in zip(samples, held, strict=True) if out]


def has_groups(samples: Sequence[Sample]) -> bool:
    """Whether there are two groups or more, so that one can be held back."""
    return len({sample.group for sample in samples}) > 1


def describe_shared_groups(train: Sequence[Sample], test: Sequence[Sample]) -> list[str]:
    """A note on the groups that could not be kept together, if there are any."""
    learned = {sample.group for sample in train}
    shared = list(dict.fromkeys(s.group for s in test if s.group and s.group in learned))
    if not shared:
        return []
    return [f"groups with images to learn from and to test on: {len(shared)} (first: {shared[0]})"]


def _place(stretch: int, count: int, total: int) -> int:
    """Which image of a stretch is taken."""
    start, end = stretch * total // count, (stretch + 1) * total // count
    return start + int((0.5 + stretch * _GOLDEN) % 1 * (end - start))


def _groups_to_hold_back(
    samples: Sequence[Sample], count: int, train: Sequence[Sample], test: Sequence[Sample]
) -> set[str]:
    sizes = Counter(sample.group for sample in samples)
    if len(sizes) == 1 and not train:
        raise UserError(
            f"data.held_back_by is 'group', but all {len(samples)} good images, such as "
            f"'{samples[0].path}', are one group; sort them into subfolders or fill the column "
            "'group' of their table, or set --config.data.held_back_by=spread."
        )
    learned, tested = ({s.group for s in settled} - {""} for settled in (train, test))
    free = {group: size for group, size in sizes.items() if group not in learned}
    first = {group: size for group, size in free.items() if group in tested}
    if sum(first.values()) >= count:
        return _chosen_groups(first, count, others=bool(train) or len(first) < len(sizes))
    rest = {group: size for group, size in free.items() if group not in tested}
    others = bool(first or train or len(rest) < len(sizes))
    return set(first) | _chosen_groups(rest, count - sum(first.values()), others=others)


def _chosen_groups(sizes: dict[str, int], count: int, *, others: bool) -> set[str]:
    """Takes a group where that brings all groups so far nearer to the share.

    Unless there are others to learn from, one is left.
    """
    held, seen, held_size, total = set(), 0, 0, sum(sizes.values())
    for group, size in sizes.items():
        seen += size
        wanted = count * seen / total
        if abs(held_size + size - wanted) < abs(held_size - wanted):
            held.add(group)
            held_size += size
    if not held and sizes:
        held = {min(sizes, key=lambda group: abs(sizes[group] - count))}
    elif len(held) == len(sizes) and not others:
        held.remove(min(sizes, key=lambda group: abs(total - sizes[group] - count)))
    return held
