"""Nesterov is the textbook look-ahead, with or without dampening."""

import keras
import numpy as np
import pytest

from keras_dnn.optimizers import Nesterov
from keras_dnn.optimizers.schedules import OneCycle, Schedule
from tests.optimizers import numpy_rules
from tests.optimizers.rule_cases import (
    PACKED,
    Zigzag,
    assert_equal,
    random_training,
    trained,
)

# The mathematics


def quadratic(size=5, seed=3):
    """The gradient of a convex quadratic with curvatures from 0.1 to 1."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(size, size)))
    hessian = axes @ np.diag(np.linspace(0.1, 1, size)) @ axes.T
    center = rng.normal(size=size)
    return lambda theta: hessian @ (theta - center)


def one_cycle_pair():
    rate = OneCycle(0.5, total_steps=60)
    return rate, rate.momentum()


@pytest.mark.parametrize(
    ("learning_rate", "momentum"),
    [(0.25, 0.9), (0.25, one_cycle_pair()[1]), one_cycle_pair()],
    ids=["constant", "momentum moves", "both move"],
)
def test_is_the_textbook_look_ahead(learning_rate, momentum):
    def value(hyperparameter, t):
        if isinstance(hyperparameter, Schedule):
            return float(hyperparameter.values(t))
        # Keras rounds floats to float32.
        return float(np.float32(hyperparameter))

    gradient = quadratic()
    theta = np.ones(5)
    m = np.zeros(5)
    w = keras.Variable(theta, dtype="float64")
    optimizer = Nesterov(learning_rate, momentum)
    for t in range(70):
        beta, beta_next = value(momentum, t), value(momentum, t + 1)
        m = beta * m - value(learning_rate, t) * gradient(theta + beta * m)
        theta = theta + m
        optimizer.apply([keras.ops.array(gradient(w.numpy()))], [w])
        assert_equal(w.numpy(), theta + beta_next * m)


def test_dampening_equal_to_momentum_averages_the_steps_exponentially():
    rate, beta, steps = 0.25, 0.75, 30
    start, gradients = random_training(PACKED, steps)
    actual = trained(Nesterov(rate, beta, dampening=beta), start, gradients)
    g = np.concatenate([each.reshape(steps, -1) for each in gradients], axis=1)
    weights = numpy_rules.flat(start)
    for t in range(steps):
        coefficients = (1 - beta) * beta ** np.arange(t, -1.0, -1)
        average = coefficients @ g[: t + 1]
        weights = weights - rate * (beta * average + (1 - beta) * g[t])
        assert_equal(actual[t], weights)


def test_steps_from_look_ahead_to_look_ahead():
    rate, beta = Zigzag(0.25), Zigzag(0.875)
    optimizer = Nesterov(rate, beta)
    weight = keras.Variable([3.0, -1.0], dtype="float64")
    curvature = np.array([0.25, 0.75])
    theta, m = weight.numpy(), np.zeros(2)
    for t in range(12):
        optimizer.apply([weight.value * curvature], [weight])
        if t == 0:
            # The first gradient is that of the initial weights, with no velocity yet.
            m = -rate.at(0) * curvature * theta
        else:
            m = beta.at(t) * m - rate.at(t) * curvature * (theta + beta.at(t) * m)
        theta = theta + m
        assert_equal(weight.numpy(), theta + beta.at(t + 1) * m)


# In `fit`

# Keras converts data and losses to float32. The data are exact in it, and the loss has
# a dtype of its own.
X = np.random.default_rng(6).normal(size=(48, 4)).round(2)
X, Y = (a.astype("float32").astype("float64") for a in (X, X @ [[1], [-2], [0.5], [3]]))
LOSS = keras.losses.MeanSquaredError(dtype="float64")
BATCH = 8


def linear_model(optimizer, dtype="float64", loss=LOSS, **compile_arguments):
    """Linear regression from zero; its gradient has a closed form."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(
                1, use_bias=False, kernel_initializer="zeros", dtype=dtype
            ),
        ]
    )
    model.compile(optimizer, loss=loss, **compile_arguments)
    return model


def fitted(model, epochs=2, **fit_arguments):
    """The kernel after training without shuffling."""
    model.fit(X, Y, BATCH, epochs=epochs, shuffle=False, verbose=0, **fit_arguments)
    return model.get_weights()[0]


def linear_gradient(step, weights):
    rows = slice(step * BATCH % len(X), step * BATCH % len(X) + BATCH)
    residual = X[rows] @ weights[0] - Y[rows]
    return [2 / BATCH * X[rows].T @ residual]


def fitted_reference(learning_rate, momentum, **arguments):
    return numpy_rules.train(
        numpy_rules.nesterov,
        [np.zeros((4, 1))],
        linear_gradient,
        steps=2 * len(X) // BATCH,
        learning_rate=learning_rate,
        momentum=momentum,
        **arguments,
    )[-1]


def test_fit_with_schedules_follows_the_numpy_rule():
    rate = OneCycle(0.1, total_steps=12)
    beta = rate.momentum()
    model = linear_model(Nesterov(rate, beta))
    expected = fitted_reference(
        learning_rate=numpy_rules.moving(lambda t: float(rate.values(t))),
        momentum=numpy_rules.moving(lambda t: float(beta.values(t))),
    )
    assert_equal(fitted(model).ravel(), expected)


def test_weights_are_the_average_after_a_fit_with_ema():
    model = linear_model(Nesterov(0.0625, 0.875, use_ema=True, ema_momentum=0.8))
    # Keras writes the averages to the weights when `fit` ends.
    expected = fitted_reference(
        learning_rate=numpy_rules.settable(lambda t: 0.0625),
        momentum=numpy_rules.settable(lambda t: 0.875),
        ema_momentum=0.8,
        ema_overwrite_frequency=12,
    )
    assert_equal(fitted(model).ravel(), expected)


def test_overflow_under_loss_scaling_skips_the_step():
    optimizer = keras.optimizers.LossScaleOptimizer(Nesterov(0.05, 0.8))
    model = linear_model(optimizer, dtype="mixed_float16")
    fitted(model)
    before = [v.numpy() for v in optimizer.inner_optimizer.variables]
    kernel = model.get_weights()[0]
    model.train_on_batch(np.full((BATCH, 4), 1e4), np.full((BATCH, 1), -6e4))
    np.testing.assert_array_equal(model.get_weights()[0], kernel)
    for variable, value in zip(
        optimizer.inner_optimizer.variables, before, strict=True
    ):
        np.testing.assert_array_equal(variable.numpy(), value)
