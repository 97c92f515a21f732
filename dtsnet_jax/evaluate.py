"""The evaluation job: score the test images of a trained run again, measure, draw."""

from pathlib import Path

from ml_collections import ConfigDict

from dtsnet_jax.train import run_categories


def evaluate(config: ConfigDict, workdir: Path) -> dict:
    """Evaluates the weights of every chosen category and seed of a run.

    Args:
      config: the configuration, the run's own or one that differs in ``scoring`` only.
      workdir: the run's directory.

    Returns:
      The results, as written to 'results.json'.

    Raises:
      UserError, DataError: a category has not been trained, or files cannot be used.
    """
    return run_categories(config, workdir, None, only_evaluate=True)
