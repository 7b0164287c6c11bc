"""What is particular to AdaGrad: a sum that only grows, and where it starts."""

import numpy as np
import pytest

from keras_dnn.optimizers import AdaGrad
from tests.optimizers.rule_cases import assert_equal, trained


@pytest.mark.parametrize("start", [0.0, 0.25])
def test_steps_of_a_constant_gradient_shrink_like_the_root_of_the_time(start):
    optimizer = AdaGrad(0.5, initial_accumulator_value=start, epsilon=0.0)
    actual = trained(optimizer, [np.zeros(2)], [np.tile([0.5, -4.0], (20, 1))])
    g, t = np.array([0.5, -4.0]), np.arange(1, 21)[:, None]
    assert_equal(actual, -np.cumsum(0.5 * g / np.sqrt(start + t * g**2), axis=0))


def test_large_and_small_gradients_move_alike_from_zero():
    optimizer = AdaGrad(0.5, initial_accumulator_value=0.0, epsilon=0.0)
    gradients = np.array([1.0, -3.0, 2.0])[:, None] * [1e-6, 1.0, 1e6]
    actual = trained(optimizer, [np.zeros(3)], [gradients])
    assert_equal(actual[:, [0, 2]], actual[:, [1, 1]], rtol=1e-9)


def test_a_zero_gradient_changes_nothing():
    assert AdaGrad().ignores_zero_gradients
