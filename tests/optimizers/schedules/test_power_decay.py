"""What is particular to `PowerDecay`; see also `test_curves.py`."""

import numpy as np

from keras_dnn.optimizers.schedules import PowerDecay
from tests.optimizers.schedules import bad_arguments
from tests.optimizers.schedules.curve_cases import assert_close


def test_defaults():
    steps = np.arange(90.0)
    assert_close(PowerDecay(0.3, 20).values(steps), 0.3 / (1 + steps / 20))


def test_configuration_is_the_arguments():
    assert PowerDecay(0.3, 49, 0.7, True, name="mine").get_config() == {
        "initial_learning_rate": 0.3,
        "decay_steps": 49,
        "power": 0.7,
        "staircase": True,
        "name": "mine",
    }


def test_numbers_may_be_those_of_numpy():
    config = PowerDecay(np.float32(0.5), np.int64(5), np.float64(2)).get_config()
    assert config == PowerDecay(0.5, 5, 2.0).get_config()
    assert not any(isinstance(value, np.generic) for value in config.values())


@bad_arguments.each(
    initial_learning_rate=bad_arguments.RATES,
    decay_steps=bad_arguments.LENGTHS,
    power=bad_arguments.RATES,
)
def test_bad_argument_is_named_and_shown(name, value):
    arguments = {"initial_learning_rate": 0.1, "decay_steps": 10} | {name: value}
    with bad_arguments.refused(name, value):
        PowerDecay(**arguments)
