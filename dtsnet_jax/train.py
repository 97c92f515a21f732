"""The training job: for every category a student, then its evaluation."""

import math
from pathlib import Path

import jax
from ml_collections import ConfigDict

from data.catalog import Catalog
from data.pipeline import training_batches
from dtsnet_jax.checkpoints import Checkpoints, newest_step
from dtsnet_jax.config import check_same_run, store_config
from dtsnet_jax.errors import UserError
from dtsnet_jax.evaluate import evaluate_category, finish
from dtsnet_jax.inputs import (
    chosen_catalogs,
    chosen_textures,
    synthesis_options,
    training_images,
)
from dtsnet_jax.mesh import split_batch
from dtsnet_jax.progress import Progress
from dtsnet_jax.run import Run, build_run, checkpoint_directory
from dtsnet_jax.step import TrainState


def train(config: ConfigDict, workdir: Path) -> dict:
    """Trains and evaluates every chosen category, continuing where an earlier start stopped.

    Args:
      config: all fields of ``configs/default.py``, checked.
      workdir: the run's directory.

    Returns:
      The results, as written to 'results.json'.

    Raises:
      UserError, DataError: something in the configuration or the files cannot be used.
    """
    check_same_run(config, workdir)
    catalogs = chosen_catalogs(config)
    epochs = [epochs_of(config, catalog.category) for catalog in catalogs]
    textures = chosen_textures(config)
    run = build_run(config)
    results = {}
    for catalog, count in zip(catalogs, epochs, strict=True):
        print(catalog.describe())
        state = train_category(config, run, catalog, textures, workdir, epochs=count)
        results[catalog.category] = evaluate_category(config, run, state, catalog, workdir)
    return finish(config, results, workdir)


def epochs_of(config: ConfigDict, category: str) -> int:
    """The epochs of a category: ``train.epochs``, or where that is 0 the data set's list.

    Raises:
      UserError: neither has a number.
    """
    epochs = config.train.epochs or config.epochs_by_category.get(category, 0)
    if not epochs:
        raise UserError(
            f"train.epochs is 0 and epochs_by_category has no entry for '{category}'; set "
            "--config.train.epochs=N."
        )
    return epochs


def train_category(
    config: ConfigDict,
    run: Run,
    catalog: Catalog,
    textures,
    workdir: Path,
    *,
    epochs: int,
) -> TrainState:
    """Trains one student, or loads it where it has been trained already.

    Args:
      config: the configuration.
      run: network and steps.
      catalog: the category's images.
      textures: (t, size, size, 3) uint8, or None.
      workdir: the run's directory.
      epochs: passes over the training images.

    Returns:
      The state after the last step.
    """
    batch_size = config.train.batch_size
    last_step = math.ceil(epochs * len(catalog.train) / batch_size)
    directory = checkpoint_directory(workdir, catalog.category)
    trained = newest_step(directory) >= last_step
    images = None if trained else training_images(config, catalog, textures)
    store_config(config, workdir)  # only now: files that cannot be used leave nothing behind
    checkpoints = Checkpoints(directory, keep=config.train.keep_checkpoints)
    try:
        initial = run.initial_state()
        state = checkpoints.restore(initial) or initial
        first_step = int(state.step)
        if images is None:
            print(f"{catalog.category}: trained already, {first_step} steps")
            return state
        batches = training_batches(
            images,
            batch_size=batch_size,
            synthesize_every=config.synthesis.every,
            options=synthesis_options(config),
            seed=config.seed,
            first_step=first_step,
            last_step=last_step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        progress = Progress(
            workdir / catalog.category,
            first_step=first_step,
            last_step=last_step,
            batch_size=batch_size,
        )
        try:
            state = _loop(config, run, state, batches, checkpoints, progress, last_step)
        finally:
            progress.close()
        checkpoints.save(state)
        return state
    finally:
        checkpoints.close()


def _loop(config, run, state, batches, checkpoints, progress, last_step) -> TrainState:
    """Steps through the batches; a loss is fetched when the next one is due, never waited for."""
    step = int(state.step)
    due = None  # the step and loss to be recorded next
    for batch in batches:
        batch.pop("mask", None)
        state, loss = run.train_step(state, run.teacher, split_batch(batch, run.mesh))
        step += 1
        if step % config.train.log_every == 0 or step == last_step:
            if due is not None:
                progress.record(due[0], loss=float(due[1]))
            due = (step, loss)
        if step % config.train.checkpoint_every == 0:
            checkpoints.save(state)
    if due is not None:
        progress.record(due[0], loss=float(due[1]))
    return state
