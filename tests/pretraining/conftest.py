"""Fixtures of the tests of pre-training."""

import keras
import pytest


@pytest.fixture
def in_float64():
    """Layers, data and losses in float64."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])
