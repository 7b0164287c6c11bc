"""What is particular to RMSProp: the variants, each with its own slots."""

import numpy as np
import pytest

from keras_dnn.optimizers import RMSProp
from tests.optimizers.rule_cases import assert_equal, trained

RHO, STEPS = 0.75, 10
GRADIENT = np.array([0.5, -2.0])
# Of a constant gradient, after each step.
SHARE = 1 - RHO ** np.arange(1, STEPS + 1)[:, None]


def trained_on_constant(**arguments):
    optimizer = RMSProp(0.5, rho=RHO, **arguments)
    return trained(optimizer, [np.zeros(2)], [np.tile(GRADIENT, (STEPS, 1))])


def test_steps_of_a_constant_gradient_are_divided_by_its_root_mean_square():
    steps = 0.5 * GRADIENT / np.sqrt(SHARE * GRADIENT**2 + 0.125)
    assert_equal(trained_on_constant(epsilon=0.125), -np.cumsum(steps, axis=0))


def test_centred_steps_of_a_constant_gradient_are_divided_by_its_deviation():
    variance = (SHARE - SHARE**2) * GRADIENT**2
    steps = 0.5 * GRADIENT / np.sqrt(variance + 0.125)
    actual = trained_on_constant(epsilon=0.125, centered=True)
    assert_equal(actual, -np.cumsum(steps, axis=0))


def test_momentum_sums_up_the_steps():
    steps = 0.5 * GRADIENT / np.sqrt(SHARE * GRADIENT**2 + 0.125)
    velocity, weight, expected = 0.0, 0.0, []
    for step in steps:
        velocity = 0.5 * velocity + step
        weight = weight - velocity
        expected.append(weight)
    assert_equal(trained_on_constant(epsilon=0.125, momentum=0.5), expected)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_each_variant_keeps_the_slots_it_needs(centered, momentum):
    slots = ["velocity"]
    slots += ["average_gradient"] * centered
    slots += ["momentum"] * (momentum > 0)
    assert RMSProp(centered=centered, momentum=momentum).slots == tuple(slots)
