"""A second implementation of the curves in NumPy float64, and random arguments."""

import contextlib
import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from keras_dnn.optimizers import schedules

EPS = np.finfo("float32").eps
TINY = np.finfo("float32").tiny  # Below it float32 has fewer digits, or none in XLA.
FAR = [10**7, 2**24 - 1, 2**24, 2**24 + 1, 2**31 - 1]


def power(t, initial_learning_rate, decay_steps, power=1.0, staircase=False):
    passed = times(t, decay_steps, staircase)
    return initial_learning_rate * (1 + passed) ** -power


def exponential(t, initial_learning_rate, decay_steps, decay_rate=0.1, staircase=False):
    return initial_learning_rate * decay_rate ** times(t, decay_steps, staircase)


def inverse_time(t, initial_learning_rate, decay_steps, decay_rate=1.0):
    return initial_learning_rate * decay_steps / (decay_steps + decay_rate * t)


def inverse_square_root(t, initial_learning_rate, decay_steps=1):
    return initial_learning_rate * np.sqrt(decay_steps / np.maximum(t, decay_steps))


def step(t, initial_learning_rate, drop_every, factor=0.1):
    return initial_learning_rate * factor ** times(t, drop_every, staircase=True)


def cosine(t, initial_learning_rate, decay_steps, alpha=0.0):
    # (1 + cos 2φ) / 2 loses all its digits near the end; cos² φ does not.
    wave = np.cos(np.pi / 2 * np.minimum(t / decay_steps, 1)) ** 2
    return initial_learning_rate * np.where(
        t < decay_steps, alpha + (1 - alpha) * wave, alpha
    )


def piecewise(t, boundaries, values):
    return np.array(values)[np.searchsorted(boundaries, t, side="right")]


def times(t, length, staircase):
    """How many periods have passed; complete ones are counted in integers."""
    return (t // length).astype("float64") if staircase else t / length


class Curve(NamedTuple):
    cls: type
    formula: object  # of the steps, as int64, and the arguments
    arguments: object  # a Hypothesis strategy

    def steps(self, arguments):
        """Critical steps: around boundaries, and very large ones."""
        lengths = arguments.get("boundaries") or [
            v for k, v in arguments.items() if k in ("decay_steps", "drop_every")
        ]
        near = [
            multiple * round_(length) + d
            for length in lengths
            for multiple in (1, 2, 10)
            for round_ in (math.floor, math.ceil)
            for d in (-1, 0, 1)
        ]
        return np.unique([0, 1, 2, *near, *FAR, 2**40]).clip(0)


def curve(cls, formula, **arguments):
    if cls is not schedules.PiecewiseConstant:
        arguments["initial_learning_rate"] = rates
    return Curve(cls, formula, st.fixed_dictionaries(arguments))


rates = st.just(0.0) | st.floats(1e-6, 10)
whole = st.integers(1, 10**6)
lengths = whole | st.floats(0.5, 1e6)
fractions = st.floats(1e-3, 1)
boundaries = st.lists(st.integers(1, 2**26), min_size=1, max_size=5, unique=True)
pieces = boundaries.flatmap(
    lambda steps: st.fixed_dictionaries(
        {
            "boundaries": st.just(sorted(steps)),
            "values": st.lists(rates, min_size=len(steps) + 1, max_size=len(steps) + 1),
        }
    )
)

CURVES = {
    "power": curve(
        schedules.PowerDecay, power, decay_steps=lengths, power=st.floats(0, 3)
    ),
    "power stairs": curve(
        schedules.PowerDecay,
        power,
        decay_steps=whole,
        power=st.floats(0, 3),
        staircase=st.just(True),
    ),
    "exponential": curve(
        schedules.ExponentialDecay,
        exponential,
        decay_steps=lengths,
        decay_rate=fractions,
    ),
    "exponential stairs": curve(
        schedules.ExponentialDecay,
        exponential,
        decay_steps=whole,
        decay_rate=fractions,
        staircase=st.just(True),
    ),
    "inverse time": curve(
        schedules.InverseTimeDecay,
        inverse_time,
        decay_steps=lengths,
        decay_rate=st.floats(0, 10),
    ),
    "inverse square root": curve(
        schedules.InverseSquareRootDecay, inverse_square_root, decay_steps=lengths
    ),
    "step": curve(schedules.StepDecay, step, drop_every=whole, factor=fractions),
    "cosine": curve(
        schedules.CosineDecay, cosine, decay_steps=lengths, alpha=st.floats(0, 1)
    ),
    "piecewise": Curve(schedules.PiecewiseConstant, piecewise, pieces),
}
# One of each, with lengths for which multiplying by the reciprocal is not exact.
FIXED = {
    "power": {"initial_learning_rate": 0.3, "decay_steps": 49, "power": 0.7},
    "power stairs": {
        "initial_learning_rate": 0.3,
        "decay_steps": 49,
        "power": 1.3,
        "staircase": True,
    },
    "exponential": {"initial_learning_rate": 0.7, "decay_steps": 12.5},
    "exponential stairs": {
        "initial_learning_rate": 0.7,
        "decay_steps": 3,
        "decay_rate": 0.9,
        "staircase": True,
    },
    "inverse time": {
        "initial_learning_rate": 0.1,
        "decay_steps": 7,
        "decay_rate": 0.3,
    },
    "inverse square root": {"initial_learning_rate": 0.6, "decay_steps": 49},
    "step": {"initial_learning_rate": 0.9, "drop_every": 93, "factor": 0.6},
    "cosine": {"initial_learning_rate": 0.4, "decay_steps": 93, "alpha": 0.1},
    "piecewise": {"boundaries": [5, 2**24], "values": [0.1, 0.7, 0.3]},
}


def fixed(name):
    """The schedule with its fixed arguments."""
    return CURVES[name].cls(**FIXED[name])


def assert_close(actual, expected, err_msg=""):
    """Asserts equality up to one rounding of float32."""
    assert actual.dtype == np.float32
    np.testing.assert_allclose(
        actual, expected, rtol=EPS, atol=TINY, err_msg=str(err_msg)
    )


MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "xla": lambda function: tf.function(function, jit_compile=True),
}


@contextlib.contextmanager
def floatx(dtype):
    """Keras's default dtype, for a while."""
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)
