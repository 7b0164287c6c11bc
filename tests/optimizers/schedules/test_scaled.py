"""What is particular to `Scaled`; compositions are in `test_composed.py`."""

import keras
import numpy as np
import pytest

import keras_dnn
from keras_dnn.optimizers.schedules import (
    CosineDecay,
    OneCycle,
    Scaled,
    StepDecay,
    Warmup,
)
from tests.optimizers.schedules import bad_arguments
from tests.optimizers.schedules.curve_cases import EPS
from tests.optimizers.schedules.rate_recorder import COUNT, rates_used, recorder

theirs = keras.optimizers.schedules


def test_is_the_product_of_the_two_rounded():
    cycle = OneCycle(0.3, 100)
    steps = np.arange(120)
    np.testing.assert_array_equal(
        Scaled(cycle, 0.7).values(steps), cycle.values(steps) * np.float32(0.7)
    )
    assert (Scaled(cycle, 0.0).values(steps) == 0).all()


def test_takes_a_schedule_of_keras_that_takes_single_steps_only():
    inner = theirs.CosineDecay(0.0, 10, warmup_target=0.1, warmup_steps=3)
    for step in range(15):
        assert float(Scaled(inner, 0.5)(step)) == np.float32(0.5) * inner(step)


@pytest.mark.parametrize("steps_per_execution", [1, 3])
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "cls", [keras_dnn.optimizers.SGD, keras.optimizers.SGD], ids=["ours", "Keras's"]
)
def test_factor_can_change_between_fits_without_retracing(
    cls, jit_compile, steps_per_execution
):
    inner = OneCycle(0.9, 2 * COUNT)
    factor = keras.Variable(1.5, trainable=False)
    model, loss = recorder(
        cls(Warmup(Scaled(inner, factor), 5)),
        jit_compile=jit_compile,
        steps_per_execution=steps_per_execution,
    )
    first = rates_used(model)
    traced = loss.times
    factor.assign(0.25)
    second = rates_used(model, first=COUNT)
    assert loss.times == traced
    values = inner.values(np.arange(2 * COUNT))
    np.testing.assert_allclose(first[:5], values[0] * 0.3 * np.arange(5), rtol=4 * EPS)
    np.testing.assert_allclose(first[5:], values[: COUNT - 5] * 1.5, rtol=4 * EPS)
    np.testing.assert_allclose(second, values[COUNT - 5 :][:COUNT] * 0.25, rtol=4 * EPS)


def test_configuration_has_the_current_value_of_a_variable():
    factor = keras.Variable(1.0, trainable=False)
    schedule = Scaled(StepDecay(0.5, 10), factor)
    factor.assign(0.25)
    assert schedule.get_config()["factor"] == 0.25
    again = Scaled.from_config(schedule.get_config())
    factor.assign(1.0)
    assert again.values(0) == 0.125


@bad_arguments.each(schedule=bad_arguments.SCHEDULES, factor=bad_arguments.RATES)
def test_bad_argument_is_named_and_shown(name, value):
    arguments = {"schedule": CosineDecay(0.4, 30), "factor": 0.5, name: value}
    with pytest.raises(ValueError, match=f"^{name} must.*Received: {name}="):
        Scaled(**arguments)
