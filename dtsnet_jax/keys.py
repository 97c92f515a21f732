"""The PRNG keys of a run: every use of its seed has a stream of its own."""

import zlib

import jax


def stream(seed: int, name: str) -> jax.Array:
    """The key of one use of a seed, such as 'parameters' or 'noise'; other names, other keys.

    Args:
      seed: the run's seed.
      name: what the key is for.
    """
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
