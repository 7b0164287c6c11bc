"""A second implementation of every rule, in NumPy float64, as in its paper.

A rule is a function of a gradient `g`, the weight's slots `s`, the number `t` of the
update (from 0) and the hyperparameters, each a `Value`; it returns what is added to
the weight. `train` does what surrounds the rule.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np


@dataclass(frozen=True)
class Value:
    """A hyperparameter at update `t`, and what update `t` assumes for the next one."""

    now: Callable
    ahead: Callable


def moving(function):
    """A schedule: the next value is known."""
    return Value(function, lambda t: function(t + 1))


def settable(function):
    """A number that can be set: the next value is assumed to be the current one."""
    return Value(function, function)


def product(beta, t):
    return np.prod([beta.now(i) for i in range(t + 1)])


# Robbins and Monro, 1951


def sgd(g, s, t, *, learning_rate):
    return -learning_rate.now(t) * g


# Polyak, 1964


def momentum(g, s, t, *, learning_rate, momentum, dampening=0.0):
    s.m = momentum.now(t) * s.m - learning_rate.now(t) * (1 - dampening) * g
    return s.m


# Sutskever et al., 2013, after the step of the look-ahead


def nesterov(g, s, t, *, learning_rate, momentum, dampening=0.0):
    step = learning_rate.now(t) * (1 - dampening) * g
    s.m = momentum.now(t) * s.m - step
    return momentum.ahead(t) * s.m - step


# Duchi et al., 2011


def adagrad(g, s, t, *, learning_rate, initial_accumulator_value, epsilon):
    if "total" not in vars(s):
        s.total = initial_accumulator_value
    s.total = s.total + g**2
    return -learning_rate.now(t) * g / np.sqrt(s.total + epsilon)


# Tieleman and Hinton, 2012; centred as in Graves, 2013


def rmsprop(g, s, t, *, learning_rate, rho, epsilon, momentum=None, centered=False):
    rho = rho.now(t)
    s.square = rho * s.square + (1 - rho) * g**2
    s.mean = rho * s.mean + (1 - rho) * g
    variance = s.square - s.mean**2 if centered else s.square
    step = learning_rate.now(t) * g / np.sqrt(variance + epsilon)
    if momentum is None:
        return -step
    s.m = momentum.now(t) * s.m + step
    return -s.m


# Kingma and Ba, 2015, in the order of the end of its section 2;
# amsgrad by Reddi et al., 2018


def adam(g, s, t, *, learning_rate, beta_1, beta_2, epsilon, amsgrad=False):
    s.m = beta_1.now(t) * s.m + (1 - beta_1.now(t)) * g
    s.v = beta_2.now(t) * s.v + (1 - beta_2.now(t)) * g**2
    s.largest = np.maximum(s.largest, s.v)
    v = s.largest if amsgrad else s.v
    alpha = learning_rate.now(t) * np.sqrt(1 - product(beta_2, t))
    alpha = alpha / (1 - product(beta_1, t))
    return -alpha * s.m / (np.sqrt(v) + epsilon)


def adamax(g, s, t, *, learning_rate, beta_1, beta_2, epsilon):
    s.m = beta_1.now(t) * s.m + (1 - beta_1.now(t)) * g
    s.u = np.maximum(beta_2.now(t) * s.u, np.abs(g))
    m_hat = s.m / (1 - product(beta_1, t))
    return -learning_rate.now(t) * m_hat / (s.u + epsilon)


# Dozat, 2016; Keras keeps the 0.96 of the momentum's warm-up in float32, except in
# the product


ROUNDED = float(np.float32(0.96))


def nadam(g, s, t, *, learning_rate, beta_1, beta_2, epsilon):
    def mu(beta, t, decay=ROUNDED):
        return beta * (1 - 0.5 * decay ** (t + 1))

    s.m = beta_1.now(t) * s.m + (1 - beta_1.now(t)) * g
    s.v = beta_2.now(t) * s.v + (1 - beta_2.now(t)) * g**2
    mu_now, mu_next = mu(beta_1.now(t), t), mu(beta_1.ahead(t), t + 1)
    so_far = product(settable(lambda i: mu(beta_1.now(i), i, 0.96)), t)
    m_hat = mu_next * s.m / (1 - so_far * mu_next) + (1 - mu_now) * g / (1 - so_far)
    v_hat = s.v / (1 - product(beta_2, t))
    return -learning_rate.now(t) * m_hat / (np.sqrt(v_hat) + epsilon)


# Zeiler, 2012


def adadelta(g, s, t, *, learning_rate, rho, epsilon):
    rho = rho.now(t)
    s.square = rho * s.square + (1 - rho) * g**2
    delta = -np.sqrt(s.delta + epsilon) / np.sqrt(s.square + epsilon) * g
    s.delta = rho * s.delta + (1 - rho) * delta**2
    return learning_rate.now(t) * delta


# Around the rule


class Slots(SimpleNamespace):
    """What a rule keeps for a weight: zero at first."""

    def __getattr__(self, name):
        return 0.0


def train(
    rule,
    weights,
    gradient,
    steps,
    *,
    weight_decay=None,
    clipnorm=None,
    global_clipnorm=None,
    clipvalue=None,
    ema_momentum=None,
    ema_overwrite_frequency=None,
    gradient_accumulation_steps=1,
    constraint=None,
    first=0,
    **hyperparameters,
):
    """The weights after each call of `gradient(step, weights)`, a flat row a call.

    A gradient that is `None` leaves its weight and its slots alone. The first update
    has the number `first`.
    """
    weights = [np.array(w, dtype="float64") for w in weights]
    slots = [Slots() for _ in weights]
    averages = [np.zeros_like(w) for w in weights]
    waiting = []
    trajectory = []
    for step in range(steps):
        waiting.append(gradient(step, weights))
        if len(waiting) == gradient_accumulation_steps:
            t = first + step // gradient_accumulation_steps
            gradients = [mean(micro) for micro in zip(*waiting, strict=True)]
            waiting = []
            gradients = clipped(gradients, clipnorm, global_clipnorm, clipvalue)
            for i, g in enumerate(gradients):
                if g is None:
                    continue
                if weight_decay is not None:
                    rate = hyperparameters["learning_rate"].now(t)
                    weights[i] = weights[i] - rate * weight_decay.now(t) * weights[i]
                weights[i] = weights[i] + rule(g, slots[i], t, **hyperparameters)
                if constraint:
                    weights[i] = constraint(weights[i])
            if ema_momentum is not None:
                kept = ema_momentum if t > 0 else 0.0
                averages = [
                    kept * a + (1 - kept) * w
                    for a, w in zip(averages, weights, strict=True)
                ]
                if ema_overwrite_frequency and (t + 1) % ema_overwrite_frequency == 0:
                    weights = [a.copy() for a in averages]
        trajectory.append(flat(weights))
    return np.array(trajectory)


def mean(gradients):
    return None if gradients[0] is None else np.mean(gradients, axis=0)


def clipped(gradients, clipnorm, global_clipnorm, clipvalue):
    if clipnorm:
        return [g if g is None else shortened(g, norm(g), clipnorm) for g in gradients]
    if global_clipnorm:
        total = np.sqrt(sum(norm(g) ** 2 for g in gradients if g is not None))
        return [
            g if g is None else shortened(g, total, global_clipnorm) for g in gradients
        ]
    if clipvalue:
        return [
            g if g is None else np.clip(g, -clipvalue, clipvalue) for g in gradients
        ]
    return gradients


def norm(g):
    return np.sqrt(np.sum(g * g))


def shortened(g, length, longest):
    return g * (longest / length) if length > longest else g


def flat(arrays):
    return np.concatenate([np.ravel(a) for a in arrays])
