"""Makes the detector that scores new photographs of what was learned."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from data.catalog import Catalog
from dtsnet_jax.detectors.fitted import Fitted
from dtsnet_jax.detectors.learner import scoring_options
from dtsnet_jax.inputs.options import pixel_options
from dtsnet_jax.prediction.drift import usual_of
from dtsnet_jax.prediction.photographs import Scored, make_opener, score_photographs
from dtsnet_jax.prediction.saved import Calibration, SavedDetector

TRAINING_SAMPLE = 256  # training images that tell what is usual


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
    opener = make_opener(options, config.data.region)
    scoring = scoring_options(config)
    answers = partial(fitted.answers, batch_size=scoring.batch_size)

    def score(paths: Sequence[Path]) -> list[Scored]:
        scored = []
        step = 1 if options.tile_size else scoring.batch_size
        starts = range(0, len(paths), step)
        for start in tqdm(starts, desc="calibrating", unit="batch", leave=False, delay=1):
            opened = [opener.open(path) for path in paths[start : start + step]]
            scored += score_photographs(opened, answers, options, top_share=scoring.top_share)
        return scored

    train = [sample.path for sample in catalog.train]
    places = np.linspace(0, len(train) - 1, min(TRAINING_SAMPLE, len(train))).round().astype(int)
    training = score([train[place] for place in places])
    kept = score([sample.path for sample in catalog.calibration])
    features = np.stack([one.features for one in training])
    calibration = Calibration(
        scores=np.array([one.score for one in kept], np.float64),
        peaks=np.array([one.peak for one in kept], np.float64),
        features=np.array([one.features for one in kept], np.float32).reshape(
            len(kept), features.shape[1]
        ),
        usual=usual_of(features),
        typical=float(np.median([np.median(one.map) for one in kept or training])),
        highest=max(one.peak for one in training),
    )
    return SavedDetector(config, about, fitted.parts, calibration, opener.region)
