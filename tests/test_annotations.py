"""The shapes and types in the package's annotations are checked wherever tests call it."""

import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from dtsnet_jax.evaluation.scoring import level_map


def test_arrays_have_the_annotated_shapes_and_dtypes():
    features = jnp.zeros((1, 4, 4, 8))
    assert level_map(features, features).shape == (1, 4, 4)
    for other in (jnp.zeros((1, 4, 4, 9)), jnp.zeros((4, 4, 8)), features.astype(int)):
        with pytest.raises(TypeCheckError):
            level_map(features, other)
