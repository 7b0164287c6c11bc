"""LeCun's initializers against Keras's and their formulas."""

import math

import pytest

from keras_dnn.initializers.variance_scaling import TRUNCATED_STD
from tests.initializers.presets import assert_preset, assert_variance

VARIANCE = 1 / 300


@pytest.mark.parametrize("name", ["LeCunNormal", "LeCunUniform"])
@pytest.mark.parametrize("shape", [(30, 50), (3, 3, 4, 8)])
def test_equals_the_core_and_keras(name, shape):
    assert_preset(name, shape)


def test_variance_of_the_normal_distribution():
    bound = 2 * math.sqrt(VARIANCE) / TRUNCATED_STD
    assert_variance("LeCunNormal", VARIANCE, bound)


def test_variance_of_the_uniform_distribution():
    assert_variance("LeCunUniform", VARIANCE, math.sqrt(3 * VARIANCE))
