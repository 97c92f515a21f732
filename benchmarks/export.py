"""An exported detector in ONNX Runtime and OpenVINO, beside JAX and PyTorch, on two threads.

    python -m benchmarks.export [--backbones resnet18 …] [--repeats=10]

The paper's network with random weights at 256 px, from RGB bytes to score maps. PyTorch's is
'benchmarks/pytorch_rival.py', which leaves out smoothing and has ResNets only. OpenVINO is measured
where it is installed; on a processor without bfloat16 it computes in float32 whatever it is told.
Prints a Markdown table; the last column is how far maps are from those of JAX, in multiples of
their largest value. Needs requirements-dev.txt.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from functools import partial

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # before anything counts the cores

import jax
import numpy as np
import onnxruntime
import torch

from benchmarks.machine import processor
from benchmarks.steps import SIZE, seconds
from dtsnet_jax.detectors.learner import build_learner, scoring_options
from dtsnet_jax.devices.mesh import data_mesh, replicate
from dtsnet_jax.devices.processes import choose_cpu_convolutions
from dtsnet_jax.export.model import build_model
from dtsnet_jax.prediction.saved import SavedDetector
from dtsnet_jax.weights.teacher import restore_teacher
from tests.export.detectors import draw_detector

BACKBONES = ("resnet18", "wide_resnet50_2", "efficientnet_lite0")
THREADS, BATCH = 2, 8
Scorer = Callable[[np.ndarray], np.ndarray]  # from (b, 256, 256, 3) uint8 to maps


def contenders(saved: SavedDetector) -> Iterator[tuple[str, Callable[[], Scorer], bool]]:
    """What computes, how it is made ready, and whether it has the same weights."""
    model = build_model(saved).SerializeToString()
    yield "JAX", lambda: jax_scorer(saved), True
    yield "ONNX Runtime, float32", lambda: onnxruntime_scorer(model), True
    for name, precision in (("float32", "f32"), ("bfloat16", "bf16")):
        yield f"OpenVINO, {name}", partial(openvino_scorer, model, precision), True
    if saved.config.encoder.name != "efficientnet_lite0":
        for title, compiled in (("PyTorch", False), ("PyTorch, torch.compile", True)):
            yield title, partial(torch_scorer, saved.config.encoder.name, compiled), False


def jax_scorer(saved: SavedDetector) -> Scorer:
    """What a detector compiles when it is first used."""
    mesh, config = data_mesh(), saved.config
    parts = replicate(saved.parts, mesh)
    teacher = restore_teacher(config.encoder.name, parts["teacher"], mesh, dtype=None, digest="")
    learner, scoring = build_learner(config, teacher), scoring_options(config)
    answer = jax.jit(partial(learner.answer, scoring=scoring))
    return lambda images: np.asarray(answer(parts, images).maps)


def onnxruntime_scorer(model: bytes) -> Scorer:
    """ONNX Runtime on its CPU provider."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["maps"], {"images": images})[0]


def openvino_scorer(model: bytes, precision: str) -> Scorer:
    """OpenVINO on its CPU plugin, which left alone may choose bfloat16 by itself."""
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": THREADS}
    compiled = core.compile_model(core.read_model(model), "CPU", options)
    return lambda images: compiled({"images": images})["maps"]


def torch_scorer(name: str, compiled: bool) -> Scorer:
    """PyTorch, eager or compiled."""
    from benchmarks.pytorch_rival import Rival

    torch.set_num_threads(THREADS)
    rival = Rival(name, device="cpu", precision="float32", compiled=compiled)
    return lambda images: rival.score(torch.from_numpy(images))


def main() -> None:
    """Measures and prints, each row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, choices=BACKBONES)
    parser.add_argument("--repeats", type=int, default=10)
    flags = parser.parse_args()
    choose_cpu_convolutions()
    print(f"{SIZE} px, {THREADS} threads of {processor()}, median of {flags.repeats}, "
          f"jax {jax.__version__}, onnxruntime {onnxruntime.__version__}, "
          f"torch {torch.__version__}\n")  # fmt: skip
    print(f"| network | what | batch 1, ms | batch {BATCH}, images/s | difference |")
    print("|---|---|---:|---:|---:|", flush=True)
    generator = np.random.default_rng(0)
    one, many = (
        generator.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8) for count in (1, BATCH)
    )
    for backbone in flags.backbones:
        expected = None
        for title, prepare, same in contenders(
            draw_detector(encoder__name=backbone, data__image_size=SIZE)
        ):
            try:
                score = prepare()
                maps = score(many)
                latency, batch = (
                    seconds(partial(score, images), lambda _: None, flags.repeats)[0]
                    for images in (one, many)
                )
            except Exception as error:  # what is not installed or cannot run here is told
                print(f"| {backbone} | {title} | {type(error).__name__}: {error} | | |")
                continue
            expected = maps if expected is None else expected
            difference = f"{abs(maps - expected).max() / expected.max():.1e}" if same else "–"
            print(f"| {backbone} | {title} | {1000 * latency:.1f} | {BATCH / batch:.1f} | "
                  f"{difference} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
