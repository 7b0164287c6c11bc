"""What is particular to `Warmup`; compositions are in `test_composed.py`."""

import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.optimizers.schedules import CosineDecay, ExponentialDecay, Warmup
from tests.optimizers.schedules import bad_arguments
from tests.optimizers.schedules.curve_cases import EPS, MODES

every_mode = pytest.mark.parametrize("mode", MODES)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 49, 93, 2**24 + 1])
@every_mode
def test_reaches_its_schedule_exactly(mode, length):
    inner = ExponentialDecay(0.7, 10)
    # Starting this high, 9 + (0.7 - 9) is not exactly 0.7 in float32.
    schedule = Warmup(inner, length, start=9.0)
    steps = tf.constant([0, length - 1, length, length + 1, length + 2, length + 50])
    values = MODES[mode](schedule)(steps).numpy()
    assert values[0] == 9
    last = 9 + (0.7 - 9) * (length - 1) / length
    np.testing.assert_allclose(values[1], last, rtol=0, atol=2 * EPS * 9)
    np.testing.assert_allclose(
        values[2:], inner.values([0, 1, 2, 50]), rtol=EPS if mode == "xla" else 0
    )


def test_starts_at_zero_by_default():
    values = Warmup(CosineDecay(0.4, 30), 4).values(np.arange(5))
    np.testing.assert_allclose(values, np.arange(5) / 10, rtol=EPS)


@bad_arguments.each(
    schedule=bad_arguments.SCHEDULES,
    warmup_steps=bad_arguments.STEPS,
    start=bad_arguments.RATES,
)
def test_bad_argument_is_named_and_shown(name, value):
    arguments = {"schedule": CosineDecay(0.4, 30), "warmup_steps": 5, name: value}
    with pytest.raises(ValueError, match=f"^{name} must.*Received: {name}="):
        Warmup(**arguments)
