"""What is particular to `Sequence`; compositions are in `test_composed.py`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.optimizers.schedules import (
    CosineDecay,
    ExponentialDecay,
    PowerDecay,
    Sequence,
    StepDecay,
)
from tests.optimizers.schedules import bad_arguments
from tests.optimizers.schedules.curve_cases import EPS, MODES

theirs = keras.optimizers.schedules
every_mode = pytest.mark.parametrize("mode", MODES)
COSINE, STEPS = CosineDecay(0.4, 30), StepDecay(0.2, 10)


@pytest.mark.parametrize("boundaries", [[1, 2], [49, 93], [7, 2**24 + 1]])
@every_mode
def test_restarts_each_schedule_exactly_at_its_boundary(mode, boundaries):
    parts = [
        ExponentialDecay(0.7, 10),
        theirs.ExponentialDecay(0.5, 10, 0.6),
        PowerDecay(0.9, 3),
    ]
    one, two = boundaries
    steps = tf.constant([0, one - 1, one, one + 1, two - 1, two, two + 1, two + 30])
    values = MODES[mode](Sequence(parts, boundaries))(steps).numpy()
    where = [(0, 0), (0, one - 1), (1, 0), (1, 1), (1, two - one - 1)]
    where += [(2, 0), (2, 1), (2, 30)]
    if two == one + 1:
        where[3] = (2, 0)
    expected = [np.float32(parts[i](np.int64(t))) for i, t in where]
    # The power of a single step may differ in its last digit from those of many.
    np.testing.assert_allclose(values, expected, rtol=2 * EPS)


@bad_arguments.each(
    schedules=(
        *([COSINE, value] for value in bad_arguments.SCHEDULES),
        *([COSINE], [COSINE] * 3, [], COSINE),
    ),
    boundaries=(*([step] for step in bad_arguments.STEPS), [], [3, 5], 3),
)
def test_bad_argument_is_named_and_shown(name, value):
    arguments = {"schedules": [COSINE, STEPS], "boundaries": [5], name: value}
    with pytest.raises(
        ValueError, match=f"^(schedules|boundaries) must.*Received: .*{name}="
    ):
        Sequence(**arguments)


def test_needs_more_than_one_schedule():
    with pytest.raises(ValueError, match=r"^schedules must.*Received: .*schedules="):
        Sequence([COSINE], [])


@pytest.mark.parametrize("boundaries", [[5, 5], [5, 3]])
def test_boundaries_increase(boundaries):
    with pytest.raises(ValueError, match=r"^boundaries must increase\. Received: b"):
        Sequence([COSINE, STEPS, COSINE], boundaries)
