"""What the tests of pre-training share."""

import keras
import pytest


@pytest.fixture
def in_float64():
    """`fit` casts data and losses to this type, whatever the layers have."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)
