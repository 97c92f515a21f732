"""Finds images to measure or calibrate on that have been learned from, and so say nothing."""

from collections.abc import Sequence
from pathlib import Path

from data.files import file_digests

CHANCE = 0.001  # that scores differ so much where they come from the same parts


def shared_files(training: Sequence[Path], others: Sequence[Path], what: str) -> list[str]:
    """A note on the images whose files have the content of training images; [] without any.

    Args:
      training: the files that are learned from.
      others: the files that should not be among them.
      what: these are called.

    Raises:
      UserError: a file cannot be read.
    """
    learned = dict(zip(file_digests(training), map(str, training), strict=True))
    return shared_images(learned, others, file_digests(others), what)


def strangers(calibration: Sequence[float], good: Sequence[float]) -> list[str]:
    """A note where good test images score higher than calibration images; [] otherwise.

    Limits hold for photographs that are like the calibration images. Where one part was
    photographed several times and some of its photographs are learned from, the others are not.

    Args:
      calibration: scores of the calibration images.
      good: scores of the good test images.
    """
    if not calibration or not good:
        return []
    from scipy import stats  # slow to import

    if stats.mannwhitneyu(good, calibration, alternative="greater").pvalue > CHANCE:
        return []
    return [
        "LIMITS WILL NOT HOLD: good test images score higher than calibration images, which may "
        "have near copies among the training images; group what belongs together and set "
        "--config.data.held_back_by=group, or calibrate with images like those to come"
    ]


def shared_images(
    learned: dict[str, str], others: Sequence[Path], digests: Sequence[str], what: str
) -> list[str]:
    """A note on the images that were learned from; [] without any.

    Args:
      learned: the training images by a digest of their contents.
      others: the files that should not be among them.
      digests: of the contents of these.
      what: these are called.
    """
    found = [
        (path, learned[digest])
        for path, digest in zip(others, digests, strict=True)
        if digest in learned
    ]
    if not found:
        return []
    path, first = found[0]
    return [
        f"LEAK: {len(found)} {what} images are training images as well (first: '{path}' is "
        f"'{first}'); what rests on them is too good"
    ]
