from tests.model.networks import compiled_quickly  # noqa: F401, for all tests of this directory
