"""What is particular to `InverseTimeDecay`; see also `test_curves.py`."""

import keras
import numpy as np
import pytest

from keras_dnn.optimizers.schedules import InverseTimeDecay
from tests.optimizers.schedules import bad_arguments
from tests.optimizers.schedules.curve_cases import assert_close, floatx


def test_defaults():
    steps = np.arange(90.0)
    assert_close(InverseTimeDecay(0.3, 20).values(steps), 0.3 / (1 + steps / 20))


def test_configuration_is_the_arguments():
    assert InverseTimeDecay(0.1, 7).get_config() == {
        "initial_learning_rate": 0.1,
        "decay_steps": 7,
        "decay_rate": 1.0,
        "name": "inverse_time_decay",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"decay_steps": 40, "decay_rate": 0.375},
        {"decay_steps": 40, "decay_rate": 0.9375},
    ],
    ids=str,
)
def test_is_that_of_keras(arguments):
    steps = np.concatenate([np.arange(200), [1000, 5000]])
    with floatx("float64"):
        actual = InverseTimeDecay(0.3, **arguments).values(steps)
    # Keras computes in the dtype of its first argument, and takes the others through
    # float32, which represents these exactly.
    theirs = keras.optimizers.schedules.InverseTimeDecay(np.float64(0.3), **arguments)
    np.testing.assert_allclose(actual, theirs(steps), rtol=1e-12, atol=1e-16)


@bad_arguments.each(
    initial_learning_rate=bad_arguments.RATES,
    decay_steps=bad_arguments.LENGTHS,
    decay_rate=bad_arguments.RATES,
)
def test_bad_argument_is_named_and_shown(name, value):
    arguments = {"initial_learning_rate": 0.1, "decay_steps": 10} | {name: value}
    with bad_arguments.refused(name, value):
        InverseTimeDecay(**arguments)
