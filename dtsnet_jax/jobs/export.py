"""The export job: a trained detector as a folder that needs neither JAX nor this program."""

from pathlib import Path

import jax

from data.files import partial_path, remove_abandoned
from dtsnet_jax.errors import UserError, first_line
from dtsnet_jax.prediction.detector import Detector
from dtsnet_jax.prediction.saved import Choice, SavedDetector, read_detector


def export(choice: Choice, out: Path, *, images: str | None = None) -> dict:
    """Exports a detector and compares it with what it was made of before it gets its name.

    Args:
      choice: the detector and its limits.
      out: the folder to write, see ``dtsnet_jax.export.folder``.
      images: photographs to compare on, as for ``find_images``; those of the run, or where these
        are gone random pictures, unless given.

    Returns:
      How much they differ, see ``dtsnet_jax.export.verify.compare``.

    Raises:
      UserError: a package is missing, the folder is not empty, or the detector cannot be exported.
    """
    try:
        from dtsnet_jax.export.folder import finish_folder, write_folder
        from dtsnet_jax.export.verify import choose_photographs, compare
    except ImportError as error:
        raise UserError(
            f"--job=export needs the packages onnx and onnxruntime ({first_line(error)}); run "
            "`pip install -r requirements-export.txt`."
        ) from error
    out = out.resolve()
    _check_folder(out)
    remove_abandoned(out.parent)
    saved = read_detector(choice.file)
    _check_detector(saved)
    detector = Detector(saved, false_alarms=choice.false_alarms, review=choice.review)
    source, photographs = choose_photographs(saved, images)
    # GPUs multiply float32 as TF32 unless told otherwise, from which any export differs.
    precise = jax.default_matmul_precision("highest")
    with precise, partial_path(out, directory=True) as partial:
        about = write_folder(partial, saved, detector)
        verified = compare(partial, detector, photographs, source)
        finish_folder(partial, about, verified)
    maps, scores = verified["maps"], verified["scores"]
    print(
        f"compared with JAX on {verified['images']} photographs ({source}): maps differ by at most "
        f"{maps['absolute']:.1e} ({maps['relative']:.1e} of the largest value), scores by "
        f"{scores['absolute']:.1e} ({scores['relative']:.1e})\nexport: {out}"
    )
    return verified


def _check_folder(out: Path) -> None:
    if out == Path.cwd():
        raise UserError(f"--out is '{out}', the current directory; give a new folder.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"--out is '{out}', which is a file or a folder that is not empty; give a new one."
        )


def _check_detector(saved: SavedDetector) -> None:
    config = saved.config
    if config.precision != "float32":
        raise UserError(
            f"the detector computes in {config.precision}, but its limits would not hold in "
            "float32, in which exports compute; train it with --config.precision=float32."
        )
    if config.data.region and saved.region is None:
        raise UserError(
            f"data.region is the directory '{config.data.region}' with a mask for each photograph, "
            "which an export cannot hold; train with one mask for all, or without any."
        )
