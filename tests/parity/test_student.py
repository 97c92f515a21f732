"""Every trained part computes what its PyTorch counterpart computes, with as many parameters."""

import jax
import numpy as np
import pytest
import torch
from flax import nnx

from dtsnet_jax.model import apr, decoder, fusion
from dtsnet_jax.model.backbones import BACKBONES
from dtsnet_jax.model.dtsnet import Student
from tests.model.networks import call
from tests.parity import reference


def level_features(name, seed=0, batch=2, size=64):
    generator = np.random.default_rng(seed)
    return tuple(
        generator.normal(size=(batch, size // s, size // s, c)).astype(np.float32)
        for s, c in zip((4, 8, 16), BACKBONES[name].channels, strict=True)
    )


def assert_equal(ours, theirs):
    theirs = reference.nhwc(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1, np.abs(theirs).max()))


def count(module):
    return sum(p.size for p in jax.tree.leaves(nnx.state(module, nnx.Param)))


def torch_count(module):
    return sum(p.numel() for p in module.parameters())


def module_like(torch_module, build):
    """The Flax module that a function builds, with the weights of its PyTorch counterpart."""
    module = nnx.eval_shape(build)
    reference.copy_weights(module, torch_module)
    assert count(module) == torch_count(torch_module)
    return module


NAMES = ["resnet18", "tiny_wide"]  # both kinds of blocks; WideResNet50-2 is in 'test_step.py'


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (fusion.MultiscaleFeatureFusion, reference.Fusion),
        (fusion.ReverseDistillationBottleneck, reference.PlainBottleneck),
    ],
)
def test_bottleneck(ours, theirs, name, training):
    torch.manual_seed(0)
    torch_module = theirs(name).train(training)
    module = module_like(torch_module, lambda: ours(BACKBONES[name], rngs=nnx.Rngs(0)))
    # BatchNorm over few positions would magnify rounding errors: 64 at stride 32 here.
    features = level_features(name, batch=4, size=128)
    module = nnx.view(module, use_running_average=not training)
    with torch.no_grad():
        expected = torch_module([reference.nchw(f) for f in features])
    assert_equal(call(module, features), expected)


@pytest.mark.parametrize("name", NAMES)
def test_decoder(name):
    torch.manual_seed(0)
    torch_module = reference.Decoder(name).eval()
    module = module_like(torch_module, lambda: decoder.Decoder(BACKBONES[name], rngs=nnx.Rngs(0)))
    code = np.random.default_rng(0).normal(size=(2, 2, 2, BACKBONES[name].bottleneck_channels))
    code = code.astype(np.float32)
    with torch.no_grad():
        expected = torch_module(reference.nchw(code))
    ours = call(nnx.view(module, use_running_average=True), code)
    for feature, theirs in zip(ours, expected, strict=True):
        assert_equal(feature, theirs)


def test_coordinate_attention_on_a_grid_that_is_not_square():
    torch.manual_seed(0)
    torch_module = reference.CoordinateAttention(64).train()
    module = module_like(torch_module, lambda: fusion.CoordinateAttention(64, rngs=nnx.Rngs(0)))
    x = np.random.default_rng(0).normal(size=(2, 6, 10, 64)).astype(np.float32)
    with torch.no_grad():
        expected = torch_module(reference.nchw(x))
    ours = call(nnx.view(module, use_running_average=False), x)
    assert_equal(ours, expected)


@pytest.mark.parametrize("name", NAMES)
def test_reconstruction_without_noise(name):
    torch.manual_seed(0)
    torch_module = reference.Reconstruction(name)
    module = module_like(
        torch_module,
        lambda: apr.AttentionGuidedPerturbationReconstruction(
            BACKBONES[name], noise_scale=0.1, temperature=0.5, rngs=nnx.Rngs(0)
        ),
    )
    features = level_features(name)
    with torch.no_grad():
        expected = torch_module([reference.nchw(f) for f in features])
    ours = call(module, features, features, None)
    for feature, theirs in zip(ours, expected, strict=True):
        assert_equal(feature, theirs)


def test_parameter_counts_of_the_released_networks():
    """In millions; the released bottleneck also holds a 1×1 convolution that it never applies."""
    unused = {"resnet18": 525_312, "wide_resnet50_2": 8_392_704}
    released = {"resnet18": (12.21, 3.70, 3.10), "wide_resnet50_2": (67.28, 24.92, 49.55)}
    for name, expected in released.items():
        options = {"bottleneck": "rd", "reconstruction": True, "noise_scale": 0.1}
        student = nnx.eval_shape(
            lambda name=name, options=options: Student(
                name, **options, temperature=0.5, rngs=nnx.Rngs(0)
            )
        )
        parts = (
            count(student.bottleneck) + unused[name],
            count(student.decoder),
            count(student.reconstruction),
        )
        np.testing.assert_allclose(np.array(parts) / 1e6, expected, atol=0.005)


def test_initialisation_has_the_spread_of_pytorch():
    """Kaiming normal (fan-out) in blocks; PyTorch's defaults for transposed and APR layers."""
    backbone = BACKBONES["resnet18"]
    torch.manual_seed(0)
    ours = nnx.jit(lambda: decoder.Decoder(backbone, rngs=nnx.Rngs(0)))()
    theirs = reference.Decoder("resnet18")
    for part in theirs.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    arrays = reference.flax_arrays(ours, theirs)
    for path, variable in nnx.to_flat_state(nnx.state(ours, nnx.Param)):
        if path[-1] == "kernel":
            np.testing.assert_allclose(
                variable[...].std(), arrays[path].std(), rtol=0.05, err_msg=str(path)
            )
    module = apr.Reconstruction(64, rngs=nnx.Rngs(0))
    reference_conv = torch.nn.Conv2d(64, 128, 3)
    np.testing.assert_allclose(
        module.conv1.kernel[...].std(), reference_conv.weight.detach().numpy().std(), rtol=0.05
    )
    np.testing.assert_allclose(np.abs(module.conv1.bias[...]).max(), (9 * 64) ** -0.5, rtol=0.1)
