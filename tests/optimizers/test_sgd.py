"""What is particular to SGD: no slot without momentum, and two rules under one name."""

import numpy as np
import pytest

from keras_dnn.optimizers import SGD, Momentum, Nesterov
from tests.optimizers.rule_cases import PACKED, random_training, trained


@pytest.mark.parametrize(("nesterov", "cls"), [(False, Momentum), (True, Nesterov)])
def test_with_momentum_is_the_rule_of_that_name_bit_for_bit(nesterov, cls):
    training = random_training(PACKED, 20)
    actual = trained(SGD(0.05, momentum=0.8, nesterov=nesterov), *training)
    np.testing.assert_array_equal(actual, trained(cls(0.05, momentum=0.8), *training))


@pytest.mark.parametrize("nesterov", [False, True])
def test_without_momentum_it_keeps_no_slot(nesterov):
    training = random_training(PACKED, 5)
    optimizer = SGD(0.05, nesterov=nesterov)
    actual = trained(optimizer, *training)
    assert optimizer.slots == ()
    # The count of calls and the learning rate.
    assert len(optimizer.variables) == 2
    np.testing.assert_array_equal(actual, trained(SGD(0.05), *training))
    assert SGD(0.05, momentum=0.5).slots == ("momentum",)


def test_only_without_momentum_a_zero_gradient_changes_nothing():
    assert SGD().ignores_zero_gradients
    assert not SGD(momentum=0.5).ignores_zero_gradients
