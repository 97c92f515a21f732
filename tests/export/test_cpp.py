"""The example in C++ says of a picture what ONNX Runtime says in Python."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from dtsnet_jax.export.model import build_model
from tests.export.detectors import draw_detector
from tests.helpers import ROOT, photograph

HEADER = "onnxruntime_cxx_api.h"
INCLUDE = "-I/usr/include/onnxruntime"  # of Debian; others are found by $CPLUS_INCLUDE_PATH


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The example, compiled and linked to the library of Python's package."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler, 'c++'")
    check = [compiler, "-x", "c++", "-std=c++17", "-fsyntax-only", INCLUDE, "-include", HEADER, "-"]
    if subprocess.run(check, input="", text=True, capture_output=True).returncode:
        pytest.skip(f"needs '{HEADER}', as of Debian 13's package libonnxruntime-dev")
    libraries = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    library = next(libraries, None)
    if library is None:
        pytest.skip("needs ONNX Runtime's Python package for Linux, which has libonnxruntime.so")
    directory = tmp_path_factory.mktemp("program")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):  # to link, and to run
        (directory / name).symlink_to(library)
    subprocess.run(
        [
            *(compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-o", directory / "score"),
            *(INCLUDE, ROOT / "docs" / "score.cpp"),
            *("-L", directory, "-lonnxruntime", f"-Wl,-rpath,{directory}"),
        ],
        check=True,
    )
    return directory / "score"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The file of a model for pictures of 64 x 32 pixels."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(build_model(draw_detector(data__image_size=(32, 64))).SerializeToString())
    return path


def run(program, *arguments):
    return subprocess.run([program, *arguments], capture_output=True, text=True)


def test_the_example_in_cpp_prints_the_scores_of_pictures(program, model, tmp_path):
    pictures = [photograph(seed, (32, 64)) for seed in range(3)]
    paths = [tmp_path / f"{seed}.ppm" for seed in range(3)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    content = paths[0].read_bytes()
    paths[0].write_bytes(content.replace(b"P6", b"P6 # by hand\n#", 1))
    session = onnxruntime.InferenceSession(model)
    (scores,) = session.run(["scores"], {"images": np.stack([np.asarray(p) for p in pictures])})
    process = run(program, model, *paths)
    lines = [line.split("\t") for line in process.stdout.splitlines()]
    assert process.returncode == 0 and [name for name, _ in lines] == [str(p) for p in paths]
    np.testing.assert_allclose([float(score) for _, score in lines], scores, rtol=1e-5)


def test_mistakes_with_the_example_get_one_sentence(program, model, tmp_path):
    photograph(0, (32, 32)).save(tmp_path / "small.ppm")
    photograph(0, (32, 64)).save(tmp_path / "cut.ppm")
    (tmp_path / "cut.ppm").write_bytes((tmp_path / "cut.ppm").read_bytes()[:-1])
    photograph(0, (32, 64)).save(tmp_path / "part.png")
    Image.new("L", (64, 32)).save(tmp_path / "grey.pgm")
    padded = tmp_path / "padded.onnx"
    padded.write_bytes(build_model(draw_detector(data__fit="pad")).SerializeToString())
    for arguments, message in (
        ((model, tmp_path / "small.ppm"), "has 32x32 pixels, expected 64x32"),
        ((model, tmp_path / "cut.ppm"), "ends before its last pixel"),
        ((model, tmp_path / "part.png"), "is no binary PPM file"),
        ((model, tmp_path / "grey.pgm"), "is no binary PPM file"),
        ((model, tmp_path / "missing.ppm"), "is no binary PPM file"),
        ((tmp_path / "missing.onnx", tmp_path / "small.ppm"), "missing.onnx"),
        ((padded, tmp_path / "small.ppm"), "gives no scores, only maps"),
        ((model,), "give a model and pictures"),
    ):
        process = run(program, *arguments)
        assert process.returncode == 2 and process.stderr.startswith("error: "), arguments
        assert message in process.stderr and process.stderr.count("\n") == 1
