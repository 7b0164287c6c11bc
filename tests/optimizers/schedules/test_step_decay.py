"""What is particular to `StepDecay`; see also `test_curves.py`."""

import numpy as np

from keras_dnn.optimizers.schedules import StepDecay
from tests.optimizers.schedules import bad_arguments
from tests.optimizers.schedules.curve_cases import assert_close


def test_defaults():
    steps = np.arange(90.0)
    assert_close(StepDecay(0.3, 20).values(steps), 0.3 * 0.1 ** (steps // 20))


@bad_arguments.each(
    initial_learning_rate=bad_arguments.RATES,
    drop_every=bad_arguments.LENGTHS,
    factor=bad_arguments.FRACTIONS,
)
def test_bad_argument_is_named_and_shown(name, value):
    arguments = {"initial_learning_rate": 0.1, "drop_every": 10} | {name: value}
    with bad_arguments.refused(name, value):
        StepDecay(**arguments)
