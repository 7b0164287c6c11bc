"""What is particular to Adadelta: steps that start from epsilon and grow."""

import numpy as np

from keras_dnn.optimizers import Adadelta
from tests.optimizers.rule_cases import assert_equal, trained


def trained_on(gradients, **arguments):
    optimizer = Adadelta(1.0, rho=0.75, **arguments)
    gradients = np.array(gradients, "float64")
    return trained(optimizer, [np.zeros(gradients.shape[1])], [gradients])


def test_first_step_has_the_size_that_epsilon_gives_it():
    actual = trained_on([[2.0, -0.5]], epsilon=0.0625)
    g = np.array([2.0, -0.5])
    assert_equal(actual[0], -0.25 * g / np.sqrt(0.25 * g**2 + 0.0625))


def test_without_epsilon_it_never_starts():
    actual = trained_on([[2.0, -0.5]] * 5, epsilon=0.0)
    np.testing.assert_array_equal(actual, np.zeros((5, 2)))


def test_steps_of_a_constant_gradient_grow():
    steps = -np.diff(trained_on([[2.0]] * 30, epsilon=1e-6)[:, 0])
    assert (np.diff(steps) > 0).all()
