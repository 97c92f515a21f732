"""The teachers give the features that torchvision's and the Lite0 package's networks give."""

import numpy as np
import pytest
import torch
from flax import nnx

from dtsnet_jax.model.encoder import build_encoder
from dtsnet_jax.weights.convert import load_state_dict
from dtsnet_jax.weights.sources import find_weights
from dtsnet_jax.weights.teacher import load_encoder
from tests.model.networks import call
from tests.parity.reference import nchw, nhwc, resnet_features, state_dict, torch_resnet


def assert_close(encoder, images, expected):
    for ours, theirs in zip(call(encoder, images), expected, strict=True):
        theirs = nhwc(theirs)
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "wide_resnet50_2"])
def test_resnet_features_equal_torchvision(name):
    images = np.random.default_rng(0).normal(size=(2, 96, 64, 3)).astype(np.float32)
    model = torch_resnet(name).eval()
    encoder = nnx.eval_shape(lambda: build_encoder(name, rngs=nnx.Rngs(0)))
    load_state_dict(encoder, state_dict(model), source="random")
    with torch.no_grad():
        assert_close(encoder, images, resnet_features(model, nchw(images)))


@pytest.mark.parametrize("size", [224, 160])
def test_lite0_features_equal_its_package_with_real_weights(size):
    from efficientnet_lite_pytorch import EfficientNet

    images = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)
    model = EfficientNet.from_name("efficientnet-lite0").eval()
    path = find_weights("efficientnet_lite0", "imagenet")
    model.load_state_dict(torch.load(path, weights_only=True))
    outputs = []
    for index in (2, 4, 10):
        model._blocks[index].register_forward_hook(lambda *call: outputs.append(call[2]))
    with torch.no_grad():
        model(nchw(images))
    assert_close(load_encoder("efficientnet_lite0", path), images, outputs)
