"""The pictures of a result: heat maps and gallery, drawn over the photographs themselves."""

from contextlib import ExitStack
from functools import partial

import numpy as np
from PIL import Image

from data.files import partial_path
from data.mask_arrays import resize_mask
from data.masks import open_masks
from data.opening import image_size, open_rgb
from dtsnet_jax.evaluation.scoring import Scores
from dtsnet_jax.inputs.evaluation import EvaluationImages
from dtsnet_jax.report.gallery import write_gallery
from dtsnet_jax.report.heatmaps import Picture, heat_range, write_heatmaps
from dtsnet_jax.seed_run import SeedRun

LONGEST, SHORTEST = 1024, 256  # pixels: bounds of the longer side of a picture


def draw(
    drawn: ExitStack,
    run: SeedRun,
    test: EvaluationImages,
    scores: Scores,
    threshold: float | None,
    *,
    heatmaps: bool,
) -> list[dict]:
    """Draws all pictures, which get their names when ``drawn`` ends.

    Args:
      drawn: what is to be closed once the result may be replaced.
      run: whose result it is.
      test: the test images.
      scores: of these.
      threshold: the score from which on an image is called defective; None where undefined.
      heatmaps: whether every test image is drawn beside the gallery.

    Returns:
      The cases of the gallery, their files below the run's directory.
    """
    samples, scale = test.catalog.test, heat_range(scores)
    picture = partial(_picture, test, scores)
    if heatmaps:
        directory = drawn.enter_context(partial_path(run.heatmaps, directory=True))
        write_heatmaps(directory, samples, picture, scores.images, scale)
    directory = drawn.enter_context(partial_path(run.gallery, directory=True))
    cases = write_gallery(directory, samples, picture, scores.images, scale, threshold)
    below = run.gallery.relative_to(run.run).as_posix()
    return [case | {"file": f"{below}/{case['file']}"} for case in cases]


def _picture(test: EvaluationImages, scores: Scores, index: int) -> Picture:
    """A test image at its own size and aspect, or as near to them as a picture should be."""
    sample = test.catalog.test[index]
    width, height = image_size(sample.path)
    longest = max(width, height)
    scale = min(LONGEST / longest, max(1.0, SHORTEST / longest))
    heat = test.placement(index).undo(scores.maps[index], scale=scale)
    photograph = open_rgb(sample.path, test.frame, at_least=heat.shape).image
    image = photograph.resize(heat.shape[::-1], Image.Resampling.BILINEAR)
    mask = None
    if test.masks is not None:
        mask = resize_mask(open_masks(sample, invert=test.inverted), heat.shape)
    return Picture(np.asarray(image), heat, mask)
