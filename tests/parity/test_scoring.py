"""Score maps and APR's equations equal transcriptions in PyTorch and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from dtsnet_jax.evaluation.scoring import level_map, score_map
from dtsnet_jax.model.apr import attention_map, channel_deviation, perturb
from tests.parity.reference import nchw

SIZE = 96


def features(seed):
    generator = np.random.default_rng(seed)
    return [
        generator.normal(size=(2, SIZE // s, SIZE // s, c)).astype(np.float32)
        for s, c in ((4, 12), (8, 20), (16, 28))
    ]


def torch_score_map(teacher, student, levels):
    total = 0
    for level in levels:
        a, b = nchw(teacher[level - 1]), nchw(student[level - 1])
        m = 1 - functional.cosine_similarity(a, b)
        total += functional.interpolate(m[:, None], size=SIZE, mode="bilinear", align_corners=True)[
            :, 0
        ]
    return total.numpy()


def test_score_map_equals_pytorch_and_scipy():
    teacher, student = features(0), features(1)
    for levels in ((1, 2, 3), (2,), (2, 3)):
        expected = torch_score_map(teacher, student, levels)
        arrays = [tuple(map(jnp.asarray, levels)) for levels in (teacher, student)]
        maps = tuple(map(level_map, *arrays))
        plain = score_map(maps, (1, 1, 1), size=(SIZE, SIZE), smoothing=0.0, levels=levels)
        np.testing.assert_allclose(plain, expected, atol=1e-5)
        smooth = score_map(maps, (1, 1, 1), size=(SIZE, SIZE), smoothing=4.0, levels=levels)
        filtered = np.stack([gaussian_filter(m.astype(np.float64), sigma=4) for m in expected])
        np.testing.assert_allclose(smooth, filtered, atol=1e-5)
        np.testing.assert_allclose(smooth.max((1, 2)), filtered.max((1, 2)), atol=1e-5)


def test_attention_and_deviation_equal_equations_3_to_5():
    f = features(0)[1]
    saliency = nchw(f).abs().mean(1)
    flat = torch.softmax(saliency.flatten(1) / 0.5, dim=1) * saliency[0].numel()
    attention = attention_map(jnp.asarray(f), 0.5)
    np.testing.assert_allclose(attention[..., 0], flat.view_as(saliency), rtol=1e-5)
    deviation = channel_deviation(jnp.asarray(f))
    np.testing.assert_allclose(deviation[..., 0], torch.std(nchw(f), dim=1), rtol=1e-5)


def test_noise_has_the_deviation_of_equation_5():
    f = jnp.asarray(features(0)[2])
    attention = attention_map(f, 0.5)
    draw = jax.vmap(lambda key: perturb(f, attention, 0.1, key) - f)
    noise = draw(jax.random.split(jax.random.key(0), 400))
    expected = 0.1 * channel_deviation(f) * attention
    measured = jnp.sqrt((noise**2).mean(axis=(0, -1), keepdims=False))[..., None]
    np.testing.assert_allclose(measured, expected, rtol=0.05)
    assert abs(float(noise.mean())) < 1e-3
