"""The named initializers: their rules, and Keras's of the same name."""

import keras
import numpy as np

from keras_dnn import initializers
from keras_dnn.initializers import VarianceScaling

PRESETS = {
    "GlorotNormal": (1.0, "fan_avg", "truncated_normal"),
    "GlorotUniform": (1.0, "fan_avg", "uniform"),
    "HeNormal": (2.0, "fan_in", "truncated_normal"),
    "HeUniform": (2.0, "fan_in", "uniform"),
    "LeCunNormal": (1.0, "fan_in", "truncated_normal"),
    "LeCunUniform": (1.0, "fan_in", "uniform"),
}


def assert_preset(name, shape):
    """It is the core with its rule, and Keras's where that is correct."""
    preset, rule = getattr(initializers, name), PRESETS[name]
    theirs = getattr(keras.initializers, name.replace("LeCun", "Lecun"))
    w = preset(5)(shape)
    np.testing.assert_array_equal(w, VarianceScaling(*rule, seed=5)(shape))
    np.testing.assert_allclose(w, theirs(5)(shape), rtol=1e-5, atol=1e-7)
    options = {"kernel": "transposed", "strides": 2, "gain": 3.0}
    np.testing.assert_array_equal(
        preset(5, **options)(shape), VarianceScaling(*rule, seed=5, **options)(shape)
    )


def assert_variance(name, variance, bound):
    """300 inputs, 200 outputs: the variance, and the largest possible weight."""
    w = np.array(getattr(initializers, name)(1)((300, 200)), "float64")
    # Five standard deviations of the estimate, at most.
    assert abs(w.var() / variance - 1) < 5 * np.sqrt(2 / w.size)
    assert 0.98 * bound < abs(w).max() <= bound * (1 + 1e-6)
