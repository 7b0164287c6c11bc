"""What is particular to `InverseSquareRootDecay`; see also `test_curves.py`."""

import numpy as np

from keras_dnn.optimizers.schedules import InverseSquareRootDecay
from tests.optimizers.schedules import bad_arguments
from tests.optimizers.schedules.curve_cases import assert_close


def test_defaults():
    steps = np.arange(90.0)
    assert_close(
        InverseSquareRootDecay(0.3).values(steps), 0.3 / np.sqrt(np.maximum(1, steps))
    )


def test_is_constant_for_its_first_steps():
    values = InverseSquareRootDecay(0.3, 100).values(np.arange(103))
    np.testing.assert_array_equal(values[:101], np.float32(0.3))
    assert (np.diff(values[100:]) < 0).all()


@bad_arguments.each(
    initial_learning_rate=bad_arguments.RATES,
    decay_steps=bad_arguments.LENGTHS,
)
def test_bad_argument_is_named_and_shown(name, value):
    arguments = {"initial_learning_rate": 0.1, "decay_steps": 10} | {name: value}
    with bad_arguments.refused(name, value):
        InverseSquareRootDecay(**arguments)
