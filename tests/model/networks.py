"""Networks whose weights NumPy draws, because JAX compiles a program for every shape it draws."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.model.encoder import build_encoder
from dtsnet_jax.training.step import split_network
from dtsnet_jax.weights.teacher import Teacher, place_teacher
from tests import tiny  # noqa: F401, adds its backbones

STUDENT = {"bottleneck": "mff", "reconstruction": True, "noise_scale": 0.1, "temperature": 0.5}


def call(module: nnx.Module, *arguments):
    """What a module answers, compiled as a whole; the module stays as it is."""
    graph, arrays = nnx.split(module)
    return jax.jit(lambda arrays, *args: nnx.merge(graph, arrays)(*args))(arrays, *arguments)


def draw(build: Callable[[], nnx.Module], seed: int = 0) -> nnx.Module:
    """The module that a function builds, with random kernels and BatchNorm that does nothing."""
    module = nnx.eval_shape(build)
    generator = np.random.default_rng(seed)
    for path, variable in nnx.to_flat_state(nnx.state(module)):
        if path[-1] == "kernel":
            deviation = np.sqrt(2 / np.prod(variable.shape[:-1]))
            value = generator.normal(0, deviation, variable.shape)
        else:
            value = np.full(variable.shape, path[-1] in ("scale", "var"))
        variable.set_value(jnp.asarray(value, variable.dtype))
    return module


def draw_teacher(name="tiny", dtype=None) -> Teacher:
    """A teacher on all devices."""
    encoder = draw(lambda: build_encoder(name, dtype=dtype, rngs=nnx.Rngs(0)))
    return place_teacher(name, encoder, dtype=dtype)


def draw_student(name="tiny", dtype=None, **options) -> Student:
    """A student; ``options`` replace the paper's."""
    options = STUDENT | options
    return draw(lambda: Student(name, **options, dtype=dtype, rngs=nnx.Rngs(0)), seed=1)


def draw_network(name="tiny", dtype=None):
    """Graphs, teacher's arrays, parameters and batch statistics of teacher and student."""
    teacher = draw_teacher(name, dtype)
    return split_network(teacher.backbone, teacher.encoder, draw_student(name, dtype))
