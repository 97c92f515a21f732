"""Loss, gradient and a whole training step equal PyTorch's, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from dtsnet_jax.model.backbones import BACKBONES
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.model.encoder import build_encoder
from dtsnet_jax.training.objective import distillation_loss
from dtsnet_jax.training.optimizer import build_optimizer
from dtsnet_jax.training.step import TrainState, make_train_step, split_network
from dtsnet_jax.weights.convert import load_state_dict
from tests.parity import reference

NAME = "resnet18"


def random_features(seed, dtype):
    generator = np.random.default_rng(seed)
    return tuple(
        generator.normal(size=(3, size, size, c)).astype(dtype)
        for size, c in zip((16, 8, 4), BACKBONES[NAME].channels, strict=True)
    )


def test_objective_and_gradient_in_float32():
    teacher, student = random_features(0, np.float32), random_features(1, np.float32)
    loss, gradient = jax.value_and_grad(distillation_loss, argnums=1)(teacher, student)
    torch_student = [reference.nchw(f).requires_grad_() for f in student]
    expected = reference.distillation_loss([reference.nchw(f) for f in teacher], torch_student)
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)
    for ours, theirs in zip(gradient, torch_student, strict=True):
        theirs = reference.nhwc(theirs.grad)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("bottleneck", ["mff", "rd"])
def test_a_training_step_moves_every_weight_as_adam_does_in_pytorch(bottleneck):
    torch_teacher = reference.torch_resnet(NAME).eval()
    torch.manual_seed(1)
    torch_student = reference.Student(NAME, bottleneck).train()
    generator = np.random.default_rng(0)
    normal = generator.integers(0, 256, (4, 64, 64, 3), np.uint8)
    synthetic = generator.integers(0, 256, (2, 64, 64, 3), np.uint8)

    teacher = build_encoder(NAME, rngs=nnx.Rngs(0))
    weights = {k: v.numpy() for k, v in torch_teacher.state_dict().items()}
    load_state_dict(teacher, weights, source="random")
    student = Student(
        NAME,
        bottleneck=bottleneck,
        reconstruction=True,
        noise_scale=0.0,
        temperature=0.5,
        rngs=nnx.Rngs(0),
    )
    reference.copy_weights(student, torch_student)
    before = reference.flax_arrays(student, torch_student.double())

    loss, moved = our_step(teacher, student, {"normal": normal, "synthetic": synthetic})
    expected_loss = torch_step(torch_teacher.double(), torch_student, normal, synthetic)

    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    after = reference.flax_arrays(student, torch_student)
    moved_weights = 0
    for path, ours in moved.items():
        theirs = after[path] - before[path]
        assert (theirs != 0).any(), path
        # A gradient that is zero but for rounding, as that of a bias before BatchNorm, has no
        # direction: movements below a thousandth of the smaller learning rate are not compared.
        np.testing.assert_allclose(
            ours - before[path], theirs, rtol=1e-3, atol=1e-6, err_msg=str(path)
        )
        moved_weights += theirs.size
    assert moved_weights == sum(p.numel() for p in torch_student.parameters())


def our_step(teacher, student, batch):
    with jax.enable_x64(True):
        network, teacher_arrays, params, batch_stats = split_network(
            BACKBONES[NAME], teacher, student
        )
        params, batch_stats = jax.tree.map(
            lambda x: jnp.asarray(x, jnp.float64), (params, batch_stats)
        )
        optimizer = build_optimizer(
            learning_rate=0.005, reconstruction_learning_rate=0.001, accumulate=1
        )
        state = TrainState(jnp.zeros((), jnp.int32), params, batch_stats, optimizer.init(params))
        step = make_train_step(network, optimizer)
        arrays = {name: jnp.asarray(value) for name, value in batch.items()}
        state, loss = step(state, teacher_arrays, arrays, jax.random.key(0))
        assert loss.dtype == jnp.float64
        moved = {
            tuple(getattr(key, "key", None) for key in path): np.asarray(value)
            for path, value in jax.tree_util.tree_leaves_with_path(state.params)
        }
        return float(loss), moved


def torch_step(teacher, student, normal, synthetic):
    def features(images):
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
        with torch.no_grad():
            scaled = reference.nchw(images).double() / 255
            return reference.resnet_features(teacher, (scaled - mean) / std)

    anomalous = normal.copy()
    anomalous[1::2] = synthetic
    groups = [
        {"params": [*student.bottleneck.parameters(), *student.decoder.parameters()], "lr": 0.005},
        {"params": student.reconstruction.parameters(), "lr": 0.001},
    ]
    optimizer = torch.optim.Adam(groups, betas=(0.5, 0.999))
    loss = reference.distillation_loss(features(normal), student(features(anomalous)))
    loss.backward()
    optimizer.step()
    return loss.item()


MEAN, STD = (np.array(v) for v in (BACKBONES[NAME].mean, BACKBONES[NAME].std))
