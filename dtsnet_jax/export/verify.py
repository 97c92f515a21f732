"""Whether an exported detector says the same as the one it was made of."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from dtsnet_jax.config import image_shape
from dtsnet_jax.errors import UserError
from dtsnet_jax.export import infer
from dtsnet_jax.inputs.catalogs import listed_catalogs
from dtsnet_jax.inputs.sample import spread_places
from dtsnet_jax.prediction.detector import Detector
from dtsnet_jax.prediction.prediction import Prediction
from dtsnet_jax.prediction.saved import SavedDetector
from dtsnet_jax.prediction.sources import find_images

MOST = 8  # photographs that are compared
TOLERANCE = 1e-4  # of the largest value

Photographs = Sequence[Path | np.ndarray]


def choose_photographs(saved: SavedDetector, images: str | None) -> tuple[str, Photographs]:
    """What to compare on: what is given, else what the run was made of, else random pictures.

    Args:
      saved: the detector.
      images: as for ``find_images``, or None.

    Returns:
      Where they are from, and 1 to 8 of them.

    Raises:
      UserError: there is no image where one was said to be.
    """
    if images is not None:
        if chosen := list(islice(find_images(images), MOST)):
            return "given", chosen
        raise UserError(f"--images is '{images}', which names no photograph; give one or more.")
    source, paths = _images_of_run(saved)
    if not paths:
        return "random pictures", _random_pictures(saved)
    return source, [paths[place] for place in spread_places(len(paths), MOST)]


def _images_of_run(saved: SavedDetector) -> tuple[str, list[Path]]:
    """Those that nothing was learned from; none where they are gone.

    Where training images lie in the bank of the neighbours, distances are 0 but for rounding.
    """
    data = saved.config.data
    if not data.root and data.name != "elpv":  # would be downloaded
        return "", []
    with suppress(UserError, OSError):
        for catalog in listed_catalogs(saved.config):
            if catalog.category == saved.about["category"]:
                for what in ("calibration", "test"):
                    if samples := getattr(catalog, what):
                        return f"{what} images", [sample.path for sample in samples]
    return "", []


def _random_pictures(saved: SavedDetector) -> list[np.ndarray]:
    size = image_shape(saved.config)
    if saved.region is not None:
        size = saved.region.shape
    elif tile := saved.config.data.tile_size:
        size = (tile + tile // 2, 2 * tile)
    generator, pictures = np.random.default_rng(0), []
    for _ in range(MOST // 2):
        coarse = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
        smooth = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC), np.float64)
        noisy = smooth + generator.normal(0, 8, smooth.shape)
        pictures.append(noisy.clip(0, 255).astype(np.uint8))
    return pictures


def compare(folder: Path, detector: Detector, photographs: Photographs, source: str) -> dict:
    """Scores photographs with an exported detector and with JAX.

    Args:
      folder: of the export.
      detector: what it was made of.
      photographs: of ``choose_photographs``, from ``source``.

    Returns:
      'images' and 'source', and of 'maps' and 'scores' the largest 'absolute' difference and the
      same 'relative' to the largest value.

    Raises:
      UserError: they differ by more than 1e-4 of the largest value, or a photograph cannot be used.
    """
    exported = infer.Detector(folder)
    maps, scores = [], []
    for photograph in photographs:
        expected = detector(photograph)
        try:
            found = exported(photograph)
        except infer.InputError as error:
            raise UserError(f"the exported model cannot score a photograph: {error}") from error
        _check_p_values(detector, expected, found)
        maps.append((np.abs(found.map - expected.map).max(), expected.map.max()))
        scores.append((abs(found.score - expected.score), expected.score))
    if "scores" in exported.about["model"]["outputs"]:
        _check_scores_of_model(exported)
    verified = {"images": len(photographs), "source": source}
    for name, pairs in (("maps", maps), ("scores", scores)):
        differences, values = np.array(pairs, np.float64).T
        relative = differences.max() / max(values.max(), 1e-12)
        verified[name] = {"absolute": float(differences.max()), "relative": float(relative)}
        if not relative <= TOLERANCE:
            raise UserError(
                f"the exported model's {name} differ from those of JAX by up to {relative:.1e} of "
                f"the largest value on {len(photographs)} photographs ({source}), expected at most "
                f"{TOLERANCE:.0e}; nothing was written: compare on photographs that were not "
                "trained on with --images=DIR, or use --job=predict."
            )
    return verified


def _check_scores_of_model(exported: infer.Detector) -> None:
    """Refuses scores of the model that are not those of its maps; ``infer`` makes its own."""
    about = exported.about
    size = (about["pixels"]["height"], about["pixels"]["width"], 3)
    images = np.random.default_rng(0).integers(0, 256, (2, *size), np.uint8)
    maps, found = exported._session.run(["maps", "scores"], {"images": images})
    expected = [infer.mean_of_largest(one.ravel(), about["top_share"], None) for one in maps]
    if not np.allclose(found, expected, rtol=TOLERANCE, atol=0):
        raise UserError(
            f"the exported model's scores of two random pictures are {found}, those of its score "
            f"maps {np.float32(expected)}; nothing was written: use --job=predict."
        )


def _check_p_values(detector: Detector, expected: Prediction, found: infer.Prediction) -> None:
    """Refuses other ranks among the calibration images, of which rounding may turn two round."""
    rounding = 2.5 / (len(detector.calibration.scores) + 1)
    for name in ("p_value", "unusual"):
        here, there = getattr(expected, name), getattr(found, name)
        if here is not None and not abs(here - there) < rounding:
            raise UserError(
                f"the exported model's {name} of a photograph is {there}, that of JAX {here}; "
                "nothing was written: use --job=predict."
            )
