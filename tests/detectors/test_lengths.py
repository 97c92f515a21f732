"""How long the teacher's vectors usually are."""

import jax.numpy as jnp
import numpy as np

from dtsnet_jax.detectors.lengths import usual_damping
from dtsnet_jax.inputs.sample import NormalSample
from dtsnet_jax.jobs.table import Table
from dtsnet_jax.model.encoder import normalize_images
from tests.helpers import small_config


def squares_of(teacher, images):
    """The squared lengths of each level, from the encoder itself."""
    features = teacher.encoder(normalize_images(images, teacher.backbone))
    return [np.square(np.float64(level)).sum(axis=-1) for level in features]


def test_positions_count_by_how_much_of_them_is_looked_at(own_images, tmp_path):
    table = Table(small_config(own_images), tmp_path)
    teacher = table.teacher(table.rows[0])
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    images[:, :, 16:] //= 8
    sample = NormalSample(images, np.arange(3), None)
    everywhere = usual_damping(teacher, sample, batch_size=2)
    squares = squares_of(teacher, jnp.asarray(images))
    np.testing.assert_allclose(everywhere, [one.mean() for one in squares], rtol=1e-4)

    valid = np.zeros((3, 32, 32), bool)
    valid[0, :, :16] = True
    found = usual_damping(teacher, sample._replace(valid=valid), batch_size=2)
    halves = [one[0, :, : one.shape[2] // 2].mean() for one in squares]
    np.testing.assert_allclose(found, halves, rtol=1e-4)
    nowhere = usual_damping(teacher, sample._replace(valid=np.zeros_like(valid)), batch_size=2)
    np.testing.assert_array_equal(nowhere, everywhere)
