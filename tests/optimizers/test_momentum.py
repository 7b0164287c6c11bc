"""What is particular to Momentum: a velocity with the learning rate, and dampening."""

import keras
import numpy as np

from keras_dnn.optimizers import Momentum
from tests.optimizers.rule_cases import PACKED, assert_equal, random_training, trained


def test_velocity_includes_the_learning_rate_of_the_steps_that_made_it():
    optimizer = Momentum(0.5, momentum=0.75)
    weight = keras.Variable(0.0, dtype="float64")
    optimizer.apply([keras.ops.array(2.0, "float64")], [weight])
    optimizer.learning_rate = 0.0
    moves = []
    for _ in range(3):
        before = float(weight.value)
        optimizer.apply([keras.ops.array(2.0, "float64")], [weight])
        moves.append(float(weight.value) - before)
    assert_equal(moves, [-0.75, -0.5625, -0.421875])


def test_dampening_equal_to_momentum_averages_the_steps_exponentially():
    rate, beta, steps = 0.25, 0.75, 30
    start, gradients = random_training(PACKED, steps)
    actual = trained(Momentum(rate, beta, dampening=beta), start, gradients)
    g = np.concatenate([each.reshape(steps, -1) for each in gradients], axis=1)
    weights = np.concatenate([np.ravel(w) for w in start])
    for t in range(steps):
        average = (1 - beta) * beta ** np.arange(t, -1, -1) @ g[: t + 1]
        weights = weights - rate * average
        assert_equal(actual[t], weights)


def test_dampening_is_printed(explained):
    optimizer = Momentum(dampening=0.375)
    lines = explained(optimizer)
    assert "τ = 0.375, dampening" in lines
    assert any("(1 − 0.375) g" in line for line in lines)
