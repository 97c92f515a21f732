"""Loss, gradient and a whole training step equal PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from dtsnet_jax.model.backbones import BACKBONES, IMAGENET_MEAN, IMAGENET_STD
from dtsnet_jax.model.dtsnet import Student
from dtsnet_jax.model.encoder import build_encoder
from dtsnet_jax.training.objective import distillation_loss
from dtsnet_jax.training.step import TrainState, make_train_step, split_network
from dtsnet_jax.weights.convert import load_state_dict
from tests.helpers import KEY, random_batches, start
from tests.model.networks import STUDENT
from tests.parity import reference


def random_features(seed, dtype):
    generator = np.random.default_rng(seed)
    return tuple(
        generator.normal(size=(3, size, size, c)).astype(dtype)
        for size, c in zip((16, 8, 4), BACKBONES["resnet18"].channels, strict=True)
    )


def test_objective_and_gradient_in_float32():
    teacher, student = random_features(0, np.float32), random_features(1, np.float32)
    loss, gradient = jax.jit(jax.value_and_grad(distillation_loss, argnums=1))(teacher, student)
    torch_student = [reference.nchw(f).requires_grad_() for f in student]
    expected = reference.distillation_loss([reference.nchw(f) for f in teacher], torch_student)
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)
    for ours, theirs in zip(gradient, torch_student, strict=True):
        theirs = reference.nhwc(theirs.grad)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def networks(name, bottleneck):
    """Teacher and student of PyTorch, and ours with the same weights and without noise."""
    torch_teacher = reference.torch_resnet(name).eval()
    torch.manual_seed(1)
    torch_student = reference.Student(name, bottleneck).train()
    teacher = nnx.eval_shape(lambda: build_encoder(name, rngs=nnx.Rngs(0)))
    options = STUDENT | {"bottleneck": bottleneck, "noise_scale": 0.0}
    student = nnx.eval_shape(lambda: Student(name, **options, rngs=nnx.Rngs(0)))
    load_state_dict(teacher, reference.state_dict(torch_teacher), source="random")
    reference.copy_weights(student, torch_student)
    return torch_teacher, torch_student, teacher, student


@pytest.mark.parametrize(
    ("name", "bottleneck", "count"), [("tiny", "rd", 1), ("tiny_wide", "mff", 2)]
)
def test_a_training_step_moves_every_weight_as_adam_does_in_pytorch(name, bottleneck, count):
    """In float64; PyTorch adds up the gradients of ``count`` batches."""
    torch_teacher, torch_student, teacher, student = networks(name, bottleneck)
    before = reference.flax_arrays(student, torch_student.double())
    batches = random_batches(size=64, batch=4, count=count)

    state, metrics = float64_step(BACKBONES[name], teacher, student, batches)
    optimizer = torch_optimizer(torch_student)
    loss = torch_loss(torch_teacher.double(), torch_student, batches)
    optimizer.step()

    np.testing.assert_allclose(metrics.loss, loss, rtol=1e-6)
    np.testing.assert_allclose(metrics.gradient_norm, gradient_norm(torch_student), rtol=1e-6)
    after = reference.flax_arrays(student, torch_student)
    moved_weights = 0
    for path, ours in by_path(state.params):
        theirs = after[path] - before[path]
        assert (theirs != 0).any(), path
        # A gradient that is zero but for rounding, as that of a bias before BatchNorm, has no
        # direction: movements below a thousandth of the smaller learning rate are not compared.
        np.testing.assert_allclose(
            ours - before[path], theirs, rtol=1e-3, atol=1e-6, err_msg=str(path)
        )
        moved_weights += theirs.size
    assert moved_weights == sum(p.numel() for p in torch_student.parameters())
    for path, ours in by_path(state.batch_stats):
        if path[-1] == "mean":  # PyTorch keeps the unbiased variance
            np.testing.assert_allclose(ours, after[path], atol=1e-8, err_msg=str(path))


def test_the_paper_s_network_takes_torchvision_weights_and_trains_at_256_pixels():
    """The loss at 64 pixels, in float32; at 256 pixels nothing is computed."""
    torch_teacher, torch_student, teacher, student = networks("wide_resnet50_2", "mff")
    graphs, *arrays = split_network(BACKBONES["wide_resnet50_2"], teacher, student)
    teacher, params, batch_stats = arrays
    optimizer, _ = start({"reconstruction": jnp.zeros(1)}, {})
    state = TrainState(jnp.int32(0), params, batch_stats, jax.eval_shape(optimizer.init, params))
    train_step = make_train_step(graphs, optimizer)

    def loss(params, batch_stats, teacher, batches):
        state = TrainState(jnp.int32(0), params, batch_stats, optimizer.init(params))
        return train_step(state, teacher, batches, KEY)[1].loss

    batches = random_batches(size=64, batch=4)
    with torch.no_grad():
        expected = torch_loss(torch_teacher, torch_student, batches)
    np.testing.assert_allclose(
        jax.jit(loss)(params, batch_stats, teacher, batches), expected, rtol=1e-5
    )
    after, _ = jax.eval_shape(train_step, state, teacher, random_batches(size=256, batch=16), KEY)
    assert shapes(after) == shapes(state)


def shapes(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


def by_path(tree):
    for path, value in jax.tree_util.tree_leaves_with_path(tree):
        yield tuple(getattr(key, "key", None) for key in path), np.asarray(value)


def float64_step(backbone, teacher, student, batches):
    with jax.enable_x64(True):
        graphs, arrays, params, batch_stats = split_network(backbone, teacher, student)
        params, batch_stats = jax.tree.map(
            lambda x: jnp.asarray(np.asarray(x, np.float64)), (params, batch_stats)
        )
        optimizer, state = start(params, batch_stats)
        state, metrics = make_train_step(graphs, optimizer)(state, arrays, batches, KEY)
        assert metrics.loss.dtype == jnp.float64
        return jax.device_get((state, metrics))


def torch_optimizer(student):
    groups = [
        {"params": [*student.bottleneck.parameters(), *student.decoder.parameters()], "lr": 0.005},
        {"params": student.reconstruction.parameters(), "lr": 0.001},
    ]
    return torch.optim.Adam(groups, betas=(0.5, 0.999))


def torch_loss(teacher, student, batches):
    """The mean of the batches' losses, whose gradients are added up in the student."""
    dtype = next(student.parameters()).dtype
    mean, std = (
        torch.tensor(v, dtype=dtype).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD)
    )

    def features(images):
        with torch.no_grad():
            scaled = reference.nchw(images).to(dtype) / 255
            return reference.resnet_features(teacher, (scaled - mean) / std)

    losses = []
    for normal, synthetic in zip(batches["normal"], batches["synthetic"], strict=True):
        anomalous = normal.copy()
        anomalous[1::2] = synthetic
        loss = reference.distillation_loss(features(normal), student(features(anomalous)))
        if torch.is_grad_enabled():
            (loss / len(batches["normal"])).backward()
        losses.append(loss.item())
    return np.mean(losses)


def gradient_norm(module):
    return np.sqrt(sum(p.grad.square().sum().item() for p in module.parameters()))
