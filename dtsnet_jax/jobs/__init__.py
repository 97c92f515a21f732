"""From the name of a job to the function that does it, imported only when it is needed."""

import importlib
from pathlib import Path

from ml_collections import ConfigDict

from dtsnet_jax.checks import check_config

OF_A_RUN = ("evaluate", "ensemble", "report")  # these go by the settings that the run has stored


def do_job(job: str, config: ConfigDict, workdir: Path) -> None:
    """Does one job.

    Args:
      job: 'prepare', 'preview', 'train', 'evaluate', 'ensemble' or 'report'; the module of this
        name has a function of this name.
      config: all fields of ``configs/default.py``.
      workdir: the run's directory.

    Raises:
      UserError: something in the configuration or the files cannot be used.
    """
    check_config(config)
    getattr(importlib.import_module(f"dtsnet_jax.jobs.{job}"), job)(config, workdir)
