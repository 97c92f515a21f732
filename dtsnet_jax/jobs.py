"""From the name of a job to the function that does it, imported only when it is needed."""

from pathlib import Path

from ml_collections import ConfigDict

from configs.variants import rows_of


def run(job: str, config: ConfigDict, workdir: Path) -> None:
    """Does one job.

    Args:
      job: 'prepare', 'preview', 'train', 'evaluate' or 'report'.
      config: all fields of ``configs/default.py``, checked.
      workdir: the run's directory.

    Raises:
      UserError, DataError: something in the configuration or the files cannot be used.
    """
    rows = rows_of(config)
    if job == "report":
        from dtsnet_jax.merge import merge

        merge(config, rows, workdir)
    elif job == "prepare":
        from dtsnet_jax.prepare import prepare

        prepare(config)
    elif job == "preview":
        from dtsnet_jax.preview import preview

        preview(config, workdir)
    elif rows:
        from dtsnet_jax.compare import compare

        compare(config, rows, workdir, only_evaluate=job == "evaluate")
    elif job == "train":
        from dtsnet_jax.train import train

        train(config, workdir)
    else:
        from dtsnet_jax.evaluate import evaluate

        evaluate(config, workdir)
