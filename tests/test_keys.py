"""Every use of a seed has random numbers of its own."""

import itertools

import jax

from dtsnet_jax.keys import stream


def data(seed, name):
    return tuple(jax.random.key_data(stream(seed, name)).tolist())


def test_the_same_seed_and_name_give_the_same_key():
    assert data(3, "noise") == data(3, "noise")


def test_other_seeds_and_names_give_other_keys():
    uses = list(itertools.product((0, 1, 111, 2**31), ("parameters", "noise", "", "noises")))
    assert len({data(*use) for use in uses}) == len(uses)


def test_no_key_is_that_of_the_seed_itself():
    assert data(0, "parameters") != tuple(jax.random.key_data(jax.random.key(0)).tolist())
