"""The rules and their variants, each with its counterpart in Keras and in NumPy."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import keras_dnn.optimizers
from tests.optimizers import numpy_rules


class Rule(NamedTuple):
    name: str  # in keras_dnn.optimizers
    keras_name: str
    reference: Callable  # in numpy_rules
    variant: dict
    numbers: dict  # the other arguments, with Keras's defaults
    variant_in_keras: dict

    def ours(self, **arguments):
        cls = getattr(keras_dnn.optimizers, self.name)
        return cls(**{**self.numbers, **self.variant, **arguments})

    def theirs(self, **arguments):
        cls = getattr(keras.optimizers, self.keras_name)
        return cls(**{**self.numbers, **self.variant_in_keras, **arguments})

    def in_numpy(self, start, gradients, **arguments):
        """The trajectory; a hyperparameter is a number or a `numpy_rules.Value`."""
        arguments = {**self.numbers, **self.variant, **arguments}
        for name in ("nesterov", "use_ema", "loss_scale_factor"):
            arguments.pop(name, None)
        for name in MOVING & arguments.keys():
            value = arguments[name]
            if not isinstance(value, numpy_rules.Value):
                arguments[name] = numpy_rules.settable(lambda t, value=value: value)
        return numpy_rules.train(
            self.reference,
            start,
            lambda t, _: [None if g is None else g[t] for g in gradients],
            max(len(g) for g in gradients if g is not None),
            **arguments,
        )


def rule(name, keras_name, reference, variant=None, in_keras=None, **numbers):
    variant = variant or {}
    return Rule(name, keras_name, reference, variant, numbers, in_keras or variant)


MOVING = {"learning_rate", "momentum", "rho", "beta_1", "beta_2", "weight_decay"}
SGD = {"learning_rate": 0.01}
VELOCITY = {"learning_rate": 0.01, "momentum": 0.9}
ADAGRAD = {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-7}
RMSPROP = {"learning_rate": 0.001, "rho": 0.9, "epsilon": 1e-7}
ADAM = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
ADADELTA = {"learning_rate": 0.001, "rho": 0.95, "epsilon": 1e-7}
CENTERED, AMSGRAD, AHEAD = {"centered": True}, {"amsgrad": True}, {"nesterov": True}

RULES = {
    "sgd": rule("SGD", "SGD", numpy_rules.sgd, **SGD),
    "momentum": rule("Momentum", "SGD", numpy_rules.momentum, **VELOCITY),
    "nesterov": rule("Nesterov", "SGD", numpy_rules.nesterov, {}, AHEAD, **VELOCITY),
    "adagrad": rule("AdaGrad", "Adagrad", numpy_rules.adagrad, **ADAGRAD),
    "rmsprop": rule("RMSProp", "RMSprop", numpy_rules.rmsprop, **RMSPROP),
    "rmsprop-centered-momentum": rule(
        "RMSProp", "RMSprop", numpy_rules.rmsprop, CENTERED, **RMSPROP, momentum=0.9
    ),
    "adam": rule("Adam", "Adam", numpy_rules.adam, **ADAM),
    "amsgrad": rule("Adam", "Adam", numpy_rules.adam, AMSGRAD, **ADAM),
    "adamw": rule("AdamW", "AdamW", numpy_rules.adam, **ADAM, weight_decay=0.004),
    "nadam": rule("Nadam", "Nadam", numpy_rules.nadam, **ADAM),
    "adamax": rule("AdaMax", "Adamax", numpy_rules.adamax, **ADAM),
    "adadelta": rule("Adadelta", "Adadelta", numpy_rules.adadelta, **ADADELTA),
}
# Second spellings of rules in `RULES`, and variants that are part of one.
OTHER_SPELLINGS = {
    "sgd-momentum": rule("SGD", "SGD", numpy_rules.momentum, **VELOCITY),
    "sgd-nesterov": rule("SGD", "SGD", numpy_rules.nesterov, AHEAD, **VELOCITY),
    "rmsprop-centered": rule(
        "RMSProp", "RMSprop", numpy_rules.rmsprop, CENTERED, **RMSPROP
    ),
    "rmsprop-momentum": rule(
        "RMSProp", "RMSprop", numpy_rules.rmsprop, **RMSPROP, momentum=0.9
    ),
    "adamw-amsgrad": rule(
        "AdamW", "AdamW", numpy_rules.adam, AMSGRAD, **ADAM, weight_decay=0.004
    ),
}


# Exact in float32, so that nothing depends on what Keras rounds.
EXACT = {
    "learning_rate": 2**-5,
    "momentum": 0.875,
    "rho": 0.875,
    "beta_1": 0.8125,
    "beta_2": 0.96875,
    "epsilon": 2**-10,
    "initial_accumulator_value": 0.25,
    "weight_decay": 0.0625,
}


def exact(rule):
    return {name: EXACT[name] for name in rule.numbers}


def hyperparameters(rule):
    """The names of the hyperparameters of a rule, in a fixed order."""
    return [
        *(n for n in rule.numbers if n in MOVING - {"weight_decay"}),
        "weight_decay",
    ]


PAIRS = [
    (name, argument) for name, r in RULES.items() for argument in hyperparameters(r)
]
PACKED = [(3, 2), (2,), ()]
ALONE = [(32769,), (2, 16385)]
MIXED = [(3, 2), (32769,), (), (2, 16385), (2,)]


def random_training(shapes, steps, seed=1):
    """Initial weights, and standard normal gradients whose first axis is the steps."""
    rng = np.random.default_rng(seed)
    start = [rng.normal(size=shape) for shape in shapes]
    return start, [rng.normal(size=(steps, *shape)) for shape in shapes]


def trained(
    optimizer, start, gradients, dtype="float64", jit_compile=None, constraint=None
):
    """The weights after each step, a flat row a step; all steps run in one graph."""
    variables = [keras.Variable(w, dtype=dtype) for w in start]
    for v in variables:
        v.constraint = constraint
    optimizer.build(variables)
    steps = max(len(g) for g in gradients if g is not None)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def train(gradients):
        def step(t, trajectory):
            optimizer.apply([None if g is None else g[t] for g in gradients], variables)
            return t + 1, trajectory.write(t, flat(variables))

        return tf.while_loop(
            lambda t, _: t < steps, step, [0, tf.TensorArray(dtype, steps)]
        )[1].stack()

    return train(
        [None if g is None else tf.constant(g, dtype) for g in gradients]
    ).numpy()


def stepped(optimizer, start, gradients, act=lambda t: None, eager=False):
    """The weights after each step, and how often the step was traced.

    `act(t)` runs before step `t`; a gradient that is `None` may be so at some steps.
    """
    variables = [keras.Variable(w, dtype="float64") for w in start]
    optimizer.build(variables)
    traces = 0

    def apply(gradients):
        nonlocal traces
        traces += 1
        optimizer.apply(gradients, variables)

    apply = apply if eager else tf.function(apply, autograph=False)
    trajectory = []
    for t, step in enumerate(gradients):
        act(t)
        apply([None if g is None else tf.constant(g) for g in step])
        trajectory.append(flat(variables).numpy())
    return np.array(trajectory), traces


def after(optimizer, steps):
    """The optimizer after some steps with two weights."""
    weight = keras.Variable([1.0, 2.0], dtype="float64")
    for _ in range(steps):
        optimizer.apply([keras.ops.array([0.5, -1.0], "float64")], [weight])
    return optimizer


def flat(variables):
    return tf.concat([tf.reshape(v.value, [-1]) for v in variables], 0)


def assert_equal(actual, expected, rtol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)


@keras.saving.register_keras_serializable(package="rule_cases")
class Zigzag(keras.optimizers.schedules.LearningRateSchedule):
    """1, 3/4, 1/2 and 5/8 times `top`, repeated."""

    factors = (1.0, 0.75, 0.5, 0.625)

    def __init__(self, top):
        self.top = top

    def __call__(self, step):
        factors = keras.ops.array(self.factors, "float64")
        return self.top * keras.ops.take(factors, keras.ops.cast(step, "int32") % 4)

    def at(self, t):
        return self.top * self.factors[t % 4]

    def get_config(self):
        return {"top": self.top}
