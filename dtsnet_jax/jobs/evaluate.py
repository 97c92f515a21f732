"""The evaluation job: score the test images of trained weights again, measure, draw, save."""

import time
from contextlib import ExitStack
from pathlib import Path

from ml_collections import ConfigDict

from data.catalog import GOOD, Catalog
from dtsnet_jax.config import length_of, scores_by_training_images
from dtsnet_jax.detectors.fitted import Fitted
from dtsnet_jax.detectors.learner import scoring_options
from dtsnet_jax.devices.processes import is_first
from dtsnet_jax.errors import UserError
from dtsnet_jax.evaluation.measure import measure
from dtsnet_jax.evaluation.scoring import Scores
from dtsnet_jax.fingerprint import scoring_settings, settings_digest
from dtsnet_jax.inputs.catalogs import chosen_catalogs, learned_catalogs
from dtsnet_jax.inputs.category import CategoryImages
from dtsnet_jax.inputs.leaks import shared_images, strangers
from dtsnet_jax.jobs.drawing import draw
from dtsnet_jax.jobs.table import Row, Table
from dtsnet_jax.prediction.calibrate import make_detector
from dtsnet_jax.prediction.saved import save_detector
from dtsnet_jax.results import environment
from dtsnet_jax.seed_run import SeedRun
from dtsnet_jax.training.progress import read_records
from dtsnet_jax.training.schedule import Length


def evaluate(config: ConfigDict, workdir: Path) -> dict[str, dict]:
    """Measures the weights of every chosen category and seed again, finished or not.

    Args:
      config: the configuration, the run's own or one that differs in ``scoring`` only.
      workdir: the run's directory.

    Returns:
      The results of each row, of which a single run has one.

    Raises:
      UserError: a category has not been trained, the run has other settings, or files cannot be
        used.
    """
    table = Table(config, workdir)
    catalogs = chosen_catalogs(config)

    def measured(row: Row, catalog: Catalog, learns: Catalog, seed: int) -> dict:
        _check_trained(row.trained_in.seed_run(learns.category, seed))
        with row.run.seed_run(catalog.category, seed).measuring():
            result = evaluate_seed(table, row, catalog, learns, seed)
        for one in (table, row):  # with the scoring that was asked for
            one.run.store_config(one.config)
        return result

    return table.fill(catalogs, learned_catalogs(config, catalogs), measured)


def _check_trained(run: SeedRun) -> None:
    if not run.record():
        raise UserError(
            f"'{run.directory}' holds nothing that was trained; train it first with --job=train "
            "and the same --workdir."
        )


def evaluate_seed(table: Table, row: Row, catalog: Catalog, learns: Catalog, seed: int) -> dict:
    """Measures the weights of one category and seed, and stores the result.

    To be called within ``SeedRun.measuring``; until all is measured an earlier result is kept.

    Args:
      table: that the row belongs to.
      row: the variant.
      catalog: the category.
      learns: what its detector has learned.
      seed: the seed.

    Returns:
      The result: metrics in [0, 1] (absent where undefined), the thresholds of the largest F1,
      curves, counts, durations, records of the training, every test image with its score, those of
      the calibration images, and what all of it was made from.

    Raises:
      UserError: there are no weights, or files cannot be used.
    """
    run = row.run.seed_run(catalog.category, seed)
    trained = row.trained_in.seed_run(learns.category, seed)
    learned = table.images.of(row.config, learns)
    record = trained.record()
    _check_record(table, row, learned, trained, record)
    images = table.images.of(row.config, catalog, bit_depth=record["made_from"]["bit depth"])
    fitted = table.learner(row).load(learned, trained, scoring_options(row.config))
    if fitted.trained_to < record["last_step"]:
        print(
            f"{run.name}: NOT FINISHED, at step {fitted.trained_to} of {record['last_step']}; "
            "--job=train continues it"
        )
    result, scores = _measured(row, fitted, images, record.get("learned", {}))
    about = {
        "category": catalog.category,
        "seed": seed,
        "step": fitted.step,
        "finished": fitted.trained_to >= record["last_step"],
        "bit_depth": record["made_from"]["bit depth"],
        "teacher": record["made_from"]["teacher"],
        "made_from": record["made_from"],
    }
    detector = make_detector(row.config, fitted, catalog, about)
    good = [one["score"] for one in result["images"] if one["defect"] == GOOD]
    result["notes"] += strangers(detector.calibration.scores.tolist(), good)
    records = read_records(trained.directory)
    if row.trained_in != row.run:  # whose metrics during training were scored in another way
        records = [one for one in records if "epoch" not in one]
    result |= {
        "seed": seed,
        "last_step": record["last_step"],
        "made_from": {"weights": record["made_from"]} | scored_from(row.config, images),
        "environment": environment(),
        "records": records,
        "calibration_scores": detector.calibration.scores.tolist(),
    }
    with ExitStack() as drawn:  # pictures get their names when it ends
        if scores is not None and seed == row.config.seeds[0] and is_first():
            threshold, heatmaps = result["thresholds"].get("image"), row.config.scoring.heatmaps
            result["gallery"] = draw(drawn, run, images.test, scores, threshold, heatmaps=heatmaps)
        run.forget_result()
    if is_first() and not table.config.rows:  # of whose rows one will be used, if any
        save_detector(run.detector, detector)
    run.store_result(result)
    return result


def _check_record(
    table: Table, row: Row, learned: CategoryImages, trained: SeedRun, record: dict
) -> None:
    """Refuses to score weights with what they were not trained with.

    Raises:
      UserError: the teacher, the length of training or, where it matters, training images differ.
    """
    length = length_of(row.config, learned.catalog.category)
    if record["length"] != length._asdict():
        raise UserError(
            f"'{trained.directory}' was to be trained for {Length(**record['length'])}, but "
            f"{length} are asked for; --job=train continues it."
        )
    wanted = {"settings": settings_digest(row.config), "teacher": table.teacher(row).digest}
    if scores_by_training_images(row.config) or row.config.data.calibration:
        wanted["training images"] = learned.training_digest
    for what, digest in wanted.items():
        if record["made_from"][what] != digest:
            raise UserError(
                f"'{trained.directory}' was trained with other {what} than there are now; give "
                "those that it was trained with."
            )


def scored_from(config: ConfigDict, images: CategoryImages) -> dict[str, object]:
    """What a result and its pictures depend on beside the weights."""
    return {
        "protocol": config.protocol,
        "scoring": scoring_settings(config),
        "test images": images.test_digest,
        "calibration images": images.calibration_digest,
        "heatmaps": config.scoring.heatmaps,
    }


def _measured(
    row: Row, fitted: Fitted, images: CategoryImages, training: dict[str, str]
) -> tuple[dict, Scores | None]:
    """What can be said of the test images, and their scores; None where there are none.

    ``training`` has the images that were learned from by the hashes of their pixels.
    """
    catalog, test = images.catalog, images.test
    result = {
        "step": fitted.step,
        "trained_to": fitted.trained_to,
        "train_images": len(catalog.train),
        "test_images": len(catalog.test),
        "masks": catalog.has_masks,
        "notes": [],
        "training_seconds": round(fitted.seconds, 2),
        "metrics": {},
        "thresholds": {},
        "curves": {},
        "images": [],
    }
    if test is None:
        return result, None
    started = time.monotonic()
    scores = test.score(fitted.score_maps, scoring_options(row.config))
    result["scoring_seconds"] = round(time.monotonic() - started, 2)
    result |= measure(test.labels, test.masks, scores, judged=test.judged)
    paths = [sample.path for sample in catalog.test]
    result["notes"] = [*shared_images(training, paths, test.facts.digests, "test"), *test.notes()]
    result["images"] = [
        {"file": str(sample.path), "defect": sample.defect, "score": float(score)}
        for sample, score in zip(catalog.test, scores.images, strict=True)
    ]
    return result, scores
