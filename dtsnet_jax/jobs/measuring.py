"""Trained weights are measured on the test images; results, pictures and detector are stored."""

import time
from contextlib import ExitStack
from typing import NamedTuple

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
from dtsnet_jax.inputs.category import CategoryImages
from dtsnet_jax.inputs.leaks import shared_images, strangers
from dtsnet_jax.jobs.drawing import draw
from dtsnet_jax.jobs.table import Row, Table
from dtsnet_jax.prediction.calibrate import make_detector
from dtsnet_jax.prediction.saved import save_detector
from dtsnet_jax.results import environment
from dtsnet_jax.seed_run import SeedRun
from dtsnet_jax.training.records import read_records
from dtsnet_jax.training.schedule import Length


class Trained(NamedTuple):
    """Weights that were trained.

    Attributes:
      fitted: what they are and say.
      record: as ``SeedRun.record``.
      records: of the training, see ``dtsnet_jax.training.records``.
    """

    fitted: Fitted
    record: dict
    records: list[dict]


def trained_record(run: SeedRun) -> dict:
    """What training stored when it began, see ``SeedRun.record``.

    Raises:
      UserError: there was none.
    """
    record = run.record()
    if not record:
        raise UserError(
            f"'{run.directory}' holds nothing that was trained; train it first with --job=train "
            "and the same --workdir."
        )
    return record


def load_trained(table: Table, row: Row, learns: Catalog, seed: int) -> Trained:
    """Loads the weights of one category and seed; says so if they are not finished.

    Args:
      table: that the row belongs to.
      row: the variant.
      learns: what was learned.
      seed: the seed.

    Raises:
      UserError: there are no weights, or they belong to other settings or files.
    """
    run = row.trained_in.seed_run(learns.category, seed)
    record = trained_record(run)
    learned = table.images.of(row.config, learns)
    _check_record(table, row, learned, run, record)
    fitted = table.learner(row).load(learned, run, scoring_options(row.config))
    if fitted.trained_to < record["last_step"]:
        print(
            f"{run.name}: NOT FINISHED, at step {fitted.trained_to} of {record['last_step']}; "
            "--job=train continues it"
        )
    records = read_records(run.directory)
    if row.trained_in != row.run:  # whose metrics during training were scored in another way
        records = [one for one in records if "epoch" not in one]
    return Trained(fitted, record, records)


def measure_seed(table: Table, row: Row, catalog: Catalog, learns: Catalog, seed: int) -> dict:
    """Measures the weights of one category and seed, see ``store_measured``.

    Args:
      table: that the row belongs to.
      row: the variant.
      catalog: the category.
      learns: what its detector has learned.
      seed: the seed.

    Raises:
      UserError: there are no weights, or files cannot be used.
    """
    trained = load_trained(table, row, learns, seed)
    run, drawn = row.run.seed_run(catalog.category, seed), seed == row.config.seeds[0]
    return store_measured(table, row, catalog, run, trained, drawn=drawn)


def store_measured(
    table: Table, row: Row, catalog: Catalog, run: SeedRun, trained: Trained, *, drawn: bool
) -> dict:
    """Measures weights and stores the result.

    To be called within ``SeedRun.measuring``; until all is measured an earlier result is kept.

    Args:
      table: that the row belongs to.
      row: the variant.
      catalog: the category.
      run: where the result goes.
      trained: the weights.
      drawn: whether there will be pictures.

    Returns:
      The result: metrics in [0, 1] (absent where undefined), the thresholds of the largest F1,
      curves, counts, durations, records of the training, every test image with its score, those of
      the calibration images, and what all of it was made from.

    Raises:
      UserError: files cannot be used.
    """
    fitted, record, records = trained
    made_from = record["made_from"]
    images = table.images.of(row.config, catalog, bit_depth=made_from["bit depth"])
    result, scores = _measured(row, fitted, images, record.get("learned", {}))
    about = {
        "category": catalog.category,
        "seed": run.seed if isinstance(run.seed, int) else None,  # of several seeds together
        "step": fitted.step,
        "finished": fitted.trained_to >= record["last_step"],
        "bit_depth": made_from["bit depth"],
        "teacher": made_from["teacher"],
        "made_from": made_from,
    }
    detector = make_detector(row.config, fitted, catalog, about)
    good = [one["score"] for one in result["images"] if one["defect"] == GOOD]
    result["notes"] += strangers(detector.calibration.scores.tolist(), good)
    result |= {
        "seed": run.seed,
        "last_step": record["last_step"],
        "made_from": {"weights": made_from} | scored_from(row.config, images),
        "environment": environment(),
        "records": records,
        "calibration_scores": detector.calibration.scores.tolist(),
    }
    with ExitStack() as stack:  # pictures get their names when it ends
        if scores is not None and drawn and is_first():
            threshold, heatmaps = result["thresholds"].get("image"), row.config.scoring.heatmaps
            result["gallery"] = draw(stack, run, images.test, scores, threshold, heatmaps=heatmaps)
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
