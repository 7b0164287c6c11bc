"""What is particular to `CosineDecay`; see also `test_curves.py`."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_dnn.optimizers.schedules import CosineDecay
from tests.optimizers.schedules import bad_arguments
from tests.optimizers.schedules.curve_cases import assert_close, floatx


def test_defaults():
    # Not up to 99, where the formula cancels.
    steps = np.arange(90.0)
    assert_close(
        CosineDecay(0.3, 99).values(steps), 0.15 * (1 + np.cos(np.pi * steps / 99))
    )


@given(
    st.floats(1e-6, 10),
    st.integers(1, 10**9) | st.floats(0.5, 1e9),
    # Smaller ones times a rate are subnormal, which TensorFlow rounds to zero.
    st.just(0.0) | st.floats(1e-30, 1),
)
@settings(deadline=None, max_examples=50, derandomize=True)
def test_begins_and_ends_exactly_and_stays_there(rate, length, alpha):
    schedule = CosineDecay(rate, length, alpha)
    assert schedule.values(0) == np.float32(rate)
    end = int(np.ceil(length))
    after = schedule.values([end, end + 1, 3 * end, 2**40])
    np.testing.assert_array_equal(after, np.float32(alpha * rate))


@pytest.mark.parametrize(
    "arguments",
    [
        {"decay_steps": 40},
        {"decay_steps": 96, "alpha": 0.375},
    ],
    ids=str,
)
def test_is_that_of_keras(arguments):
    steps = np.concatenate([np.arange(200), [1000, 5000]])
    with floatx("float64"):
        actual = CosineDecay(0.3, **arguments).values(steps)
    # Keras computes in the dtype of its first argument, and takes the others through
    # float32, which represents these exactly.
    theirs = keras.optimizers.schedules.CosineDecay(np.float64(0.3), **arguments)
    np.testing.assert_allclose(actual, theirs(steps), rtol=1e-12, atol=1e-16)


@bad_arguments.each(
    initial_learning_rate=bad_arguments.RATES,
    decay_steps=bad_arguments.LENGTHS,
    alpha=(-0.1, 1.01, float("nan"), "0", None),
)
def test_bad_argument_is_named_and_shown(name, value):
    arguments = {"initial_learning_rate": 0.1, "decay_steps": 10} | {name: value}
    with bad_arguments.refused(name, value):
        CosineDecay(**arguments)
