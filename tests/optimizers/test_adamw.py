"""What is particular to AdamW: a decay that no gradient changes."""

import numpy as np
import pytest

from keras_dnn.optimizers import Adam, AdamW
from tests.optimizers.rule_cases import assert_equal, trained


def test_weights_without_a_gradient_decay_exponentially():
    optimizer = AdamW(0.25, weight_decay=0.5)
    actual = trained(optimizer, [np.array([4.0])], [np.zeros((10, 1))])
    assert_equal(actual[:, 0], 4.0 * 0.875 ** np.arange(1, 11))


def test_decay_does_not_depend_on_the_size_of_the_gradient():
    # With a constant gradient every step of Adam is as long as the rate.
    gradients = np.tile([1e-3, 1.0, 1e3], (10, 1))
    betas = {"beta_1": 0.875, "beta_2": 0.96875}  # exact in float32
    optimizer = AdamW(0.25, weight_decay=0.5, **betas, epsilon=0.0)
    actual = trained(optimizer, [np.full(3, 4.0)], [gradients])
    weight, expected = 4.0, []
    for _ in range(10):
        weight = weight - 0.125 * weight - 0.25
        expected.append([weight] * 3)
    assert_equal(actual, expected)


def test_is_adam_with_a_weight_decay():
    start, gradients = [np.full(3, 2.0)], [np.random.default_rng(1).normal(size=(9, 3))]
    np.testing.assert_array_equal(
        trained(AdamW(0.1, weight_decay=0.25), start, gradients),
        trained(Adam(0.1, weight_decay=0.25), start, gradients),
    )


def test_missing_weight_decay_points_to_adam():
    with pytest.raises(ValueError, match=r"use Adam.*weight_decay=None"):
        AdamW(weight_decay=None)
