"""What is particular to `PiecewiseConstant`; see also `test_curves.py`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.optimizers.schedules import PiecewiseConstant
from tests.optimizers.schedules.bad_arguments import RATES, STEPS

theirs = keras.optimizers.schedules


@pytest.mark.parametrize(
    ("boundary", "dtype"), [(2**31, "int32"), (2**40, "int32"), (2**24 + 1, "float32")]
)
def test_boundaries_may_exceed_the_dtype_of_the_step(boundary, dtype):
    schedule = PiecewiseConstant([10, boundary], [0.5, 0.25, 0.125])
    for step, expected in ((9, 0.5), (10, 0.25), (2**24, 0.25)):
        assert float(schedule(tf.constant(step, dtype))) == expected
        assert float(schedule(step)) == expected
    np.testing.assert_array_equal(
        schedule.values([boundary - 1, boundary]), [0.25, 0.125]
    )


@pytest.mark.parametrize(
    ("boundaries", "rates"),
    [([5], [0.1, 0.7]), ([1, 2, 40], [0.3, 0.1, 0.2, 0.05])],
)
def test_changes_one_step_before_those_of_keras(boundaries, rates):
    steps = np.arange(100)
    ours = PiecewiseConstant(boundaries, rates).values(steps)
    other = theirs.PiecewiseConstantDecay(boundaries, rates)
    late = np.array([other(step) for step in steps])
    np.testing.assert_array_equal(ours[:-1], late[1:])
    assert np.flatnonzero(ours != late).tolist() == boundaries


def test_configuration_is_the_arguments():
    schedule = PiecewiseConstant([5, 2**24], [0.1, 0.7, 0.3])
    assert schedule.get_config() == {
        "boundaries": [5, 2**24],
        "values": [0.1, 0.7, 0.3],
        "name": "piecewise_constant",
    }


def test_numbers_may_be_those_of_numpy():
    made = PiecewiseConstant(np.array([3, 7]), np.float32([0.5, 0.25, 0.125]))
    config = made.get_config()
    assert config == PiecewiseConstant([3, 7], [0.5, 0.25, 0.125]).get_config()
    numbers = [*config["boundaries"], *config["values"]]
    assert not any(isinstance(number, np.generic) for number in numbers)


@pytest.mark.parametrize(
    ("boundaries", "rates", "name"),
    [
        *(([5, step], [0.1, 0.2, 0.3], "boundaries") for step in STEPS),
        ([5, 5], [0.1, 0.2, 0.3], "boundaries"),
        ([5, 3], [0.1, 0.2, 0.3], "boundaries"),
        (5, [0.1, 0.2], "boundaries"),
        *(([5], [0.1, rate], "values") for rate in RATES),
        ([5], 0.1, "values"),
        ([5], [0.1], "values"),
        ([5], [0.1, 0.2, 0.3], "values"),
        ([], [], "values"),
    ],
    ids=str,
)
def test_bad_argument_is_named_and_shown(boundaries, rates, name):
    with pytest.raises(ValueError, match=f"^{name} must.*Received: .*{name}="):
        PiecewiseConstant(boundaries, rates)
