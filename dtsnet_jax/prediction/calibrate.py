"""Makes the detector that scores new photographs of what was learned."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from data.catalog import Catalog
from data.images import count_arrays
from dtsnet_jax.detectors.fitted import Fitted
from dtsnet_jax.detectors.learner import scoring_options
from dtsnet_jax.devices.processes import together
from dtsnet_jax.inputs.options import pixel_options
from dtsnet_jax.inputs.sample import spread_places
from dtsnet_jax.prediction.drift import usual_of
from dtsnet_jax.prediction.photographs import Scored, make_opener, score_photographs
from dtsnet_jax.prediction.saved import Calibration, SavedDetector

SAMPLE = 256  # training images, or tiles of them, that tell what is usual
LEAST = 16  # training images, of which the colours of heat maps need some


def make_detector(
    config: ConfigDict, fitted: Fitted, catalog: Catalog, about: dict
) -> SavedDetector:
    """Scores calibration images, and some training images, as new photographs will be.

    Args:
      config: all fields of ``configs/default.py``, checked.
      fitted: what was learned.
      catalog: the category.
      about: as ``SavedDetector.about``.

    Raises:
      UserError: a file cannot be used.
    """
    options = pixel_options(config, bit_depth=about["bit_depth"])
    train, kept = ([one.path for one in some] for some in (catalog.train, catalog.calibration))
    opener = together(lambda: make_opener(options, config.data.region, train[0]))
    scoring = scoring_options(config)
    answers = partial(fitted.answers, batch_size=scoring.batch_size)
    tiles = count_arrays(train[:1], options)[0]

    def score(paths: Sequence[Path]) -> list[Scored]:
        scored, step = [], max(1, scoring.batch_size // tiles)
        starts = range(0, len(paths), step)
        for start in tqdm(starts, desc="calibrating", unit="batch", leave=False, delay=1):
            some = paths[start : start + step]
            opened = together(lambda some=some: [opener.open(path) for path in some])
            scored += score_photographs(opened, answers, options, top_share=scoring.top_share)
        return scored

    places = spread_places(len(train), max(LEAST, SAMPLE // tiles) if kept else LEAST)
    training, kept = score([train[place] for place in places]), score(kept)
    features = np.stack([one.features for one in training])
    calibration = Calibration(
        scores=np.array([one.score for one in kept], np.float64),
        peaks=np.array([one.peak for one in kept], np.float64),
        features=np.array([one.features for one in kept], np.float32).reshape(
            len(kept), features.shape[1]
        ),
        usual=usual_of(features),
        typical=float(np.median([np.median(one.map[one.map > 0]) for one in kept or training])),
        highest=max(one.peak for one in training),
    )
    return SavedDetector(config, about, fitted.parts, calibration, opener.region)
