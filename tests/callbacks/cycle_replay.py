"""A cycle, and the rules that follow it, a second time in NumPy."""

import numpy as np

from tests.callbacks.harness import moved

# Six batches of four and four epochs are 24 steps.
BATCHES, EPOCHS = 6, 4
STEPS = BATCHES * EPOCHS
TOP, HIGH, LOW = 0.5, 0.95, 0.85


def knots(steps, warmup=0.45, final=0.1):
    last = steps - 1
    return [0, round(warmup * last), last - round(final * last), last]


def rates_of(steps, top=TOP, d0=10.0, d1=1000.0):
    values = [top / d0, top, top / d0, top / d0 / d1]
    return np.interp(np.arange(steps), knots(steps), values)


def momenta_of(steps, high=HIGH, low=LOW):
    return np.interp(np.arange(steps), knots(steps), [high, low, high, high])


def heavy_ball(rates, momenta):
    """How far momentum moves each weight, whose gradient is one at its own step."""
    m, w = np.zeros(len(rates)), np.zeros(len(rates))
    for t, (rate, momentum) in enumerate(zip(rates, momenta, strict=True)):
        m *= momentum
        m[t] -= rate
        w += m
    return w


def look_ahead(rates, momenta, after):
    """Nesterov's movement, with the next step's momentum; `after` follows the last."""
    m, w = np.zeros(len(rates)), np.zeros(len(rates))
    following = [*momenta[1:], after]
    for t, rate in enumerate(rates):
        m *= momenta[t]
        m[t] -= rate
        w += following[t] * m
        w[t] -= rate
    return w


def adam(rates, betas, beta_2=0.999, epsilon=1e-7):
    m, v, w = (np.zeros(len(rates)) for _ in range(3))
    product = 1.0
    for t, (rate, beta) in enumerate(zip(rates, betas, strict=True)):
        g = np.eye(len(rates))[t]
        m, v = beta * m + (1 - beta) * g, beta_2 * v + (1 - beta_2) * g
        product *= beta
        alpha = rate * np.sqrt(1 - beta_2 ** (t + 1)) / (1 - product)
        w -= alpha * m / (np.sqrt(v) + epsilon)
    return w


def assert_moved(model, expected, rtol=2e-5):
    """Compares how far the weights of a `Tape` have moved."""
    expected, found = np.asarray(expected), moved(model)
    assert len(found) == len(expected)
    atol = rtol * np.abs(expected).min()
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


def own_values(optimizer):
    return float(optimizer.learning_rate), float(optimizer.momentum)
