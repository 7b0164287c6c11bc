"""Schedules of one formula are compared with that formula in NumPy float64."""

from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_dnn.optimizers.schedules import (
    ExponentialDecay,
    PiecewiseConstant,
    PowerDecay,
    StepDecay,
)
from tests.optimizers.schedules.curve_cases import (
    CURVES,
    EPS,
    FAR,
    FIXED,
    MODES,
    assert_close,
    fixed,
    floatx,
)

theirs = keras.optimizers.schedules
every_curve = pytest.mark.parametrize("name", CURVES)
every_mode = pytest.mark.parametrize("mode", MODES)


# The formulas


@every_curve
@given(data=st.data())
@settings(deadline=None, max_examples=50, derandomize=True)
def test_follows_its_formula(name, data):
    curve = CURVES[name]
    arguments = data.draw(curve.arguments)
    steps = curve.steps(arguments)
    actual = curve.cls(**arguments).values(steps)
    assert_close(actual, curve.formula(steps, **arguments))


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_follows_its_formula_in_a_graph(mode, dtype):
    made = {name: fixed(name) for name in CURVES}
    compiled = MODES[mode](lambda t: {name: made[name](t) for name in made})
    steps = np.concatenate([np.arange(1000), FAR])
    steps = steps[steps == steps.astype(dtype).astype("int64")]
    for name, values in compiled(tf.constant(steps, dtype)).items():
        expected = CURVES[name].formula(steps, **FIXED[name])
        assert_close(values.numpy(), expected, err_msg=name)


@pytest.mark.parametrize(
    "length",
    [3, 7, 49, 93, 10**7 + 1, 2.5, 0.1, Fraction(7, 3), Fraction(10**5, 3)],
    ids=str,
)
@every_mode
def test_staircases_fall_exactly_at_multiples_of_their_length(mode, length):
    exact = Fraction(str(length))
    schedules = [
        PowerDecay(1.0, float(length), staircase=True),
        ExponentialDecay(1.0, float(length), decay_rate=0.875, staircase=True),
        StepDecay(1.0, float(length), factor=0.875),
    ]
    compiled = MODES[mode](lambda t: [schedule(t) for schedule in schedules])
    multiples = (exact * k for k in range(1, 100))
    edges = [m.numerator // m.denominator for m in multiples]
    steps = np.unique([e + d for e in [0, *edges] for d in (-1, 0, 1)]).clip(0)
    count = np.array([float(t // exact) for t in steps.tolist()])
    by_power, *by_factor = (values.numpy() for values in compiled(tf.constant(steps)))
    assert_close(by_power, 1 / (1 + count))
    for values in by_factor:
        assert_close(values, 0.875**count)


@every_mode
def test_a_single_step_counts_beyond_2_to_the_24(mode):
    last = 2**24 + 1
    schedules = [
        StepDecay(0.5, last),
        PowerDecay(0.5, last, staircase=True),
        PiecewiseConstant([last], [0.5, 0.25]),
    ]
    compiled = MODES[mode](lambda t: [schedule(t) for schedule in schedules])
    values = np.array(compiled(tf.range(last - 1, last + 2)))
    np.testing.assert_array_equal(values[:, 0], np.float32(0.5))
    np.testing.assert_array_equal(values[:, 1], np.float32([0.05, 0.25, 0.25]))
    np.testing.assert_array_equal(values[:, 2], values[:, 1])


@pytest.mark.parametrize("name", [name for name in CURVES if name != "piecewise"])
def test_never_rises(name):
    steps = np.concatenate([np.arange(5000), FAR, [2**40]])
    assert (np.diff(fixed(name).values(steps)) <= 0).all()


# Kinds of steps


@pytest.mark.parametrize(
    "kind",
    [
        *(int, float, np.int32, np.int64, np.float32, np.float64, np.array),
        lambda step: tf.constant(step, "int32"),
        lambda step: tf.constant(step, "int64"),
        lambda step: tf.constant(step, "float32"),
        lambda step: tf.constant(step, "float64"),
        lambda step: tf.Variable(step, dtype="int64"),
        lambda step: keras.Variable(step, dtype="int64", trainable=False),
    ],
    ids=[
        *("int", "float", "np.int32", "np.int64", "np.float32", "np.float64"),
        *("array", "tf.int32", "tf.int64", "tf.float32", "tf.float64"),
        *("tf.Variable", "keras.Variable"),
    ],
)
def test_takes_every_kind_of_step(kind):
    steps = (0, 1, 4, 5, 49, 93, 1000, 10**7, 2**24)
    for name in CURVES:
        schedule = fixed(name)
        for step, expected in zip(steps, schedule.values(steps), strict=True):
            value = keras.ops.convert_to_numpy(schedule(kind(step)))
            assert value.shape == ()
            assert value.dtype == np.float32
            assert value == expected, (name, step)


@every_curve
@pytest.mark.parametrize("step", [2**31, 2**40])
def test_takes_python_steps_beyond_int32(name, step):
    schedule = fixed(name)
    assert schedule(step) == schedule.values([step])[0]


@every_curve
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 1, 2), (0,)])
def test_values_have_the_shape_of_the_steps(name, shape):
    schedule = fixed(name)
    steps = np.arange(np.prod(shape, dtype=int)).reshape(shape) * 30
    for values in (schedule.values(steps), schedule.values(steps.tolist())):
        assert isinstance(values, np.ndarray)
        assert values.shape == shape
        assert values.dtype == np.float32
        assert values.ravel().tolist() == [
            schedule.values(step).item() for step in steps.ravel()
        ]
    assert schedule(tf.constant(steps)).shape == shape


@every_curve
@pytest.mark.parametrize(
    ("dtype", "rtol"), [("float64", 1e-14), ("float16", 1e-3), ("bfloat16", 8e-3)]
)
def test_values_are_in_the_float_that_keras_computes_with(name, dtype, rtol):
    curve, steps = CURVES[name], np.arange(200)
    with floatx(dtype):
        schedule = fixed(name)
        values = schedule.values(steps)
        assert schedule(3).dtype == dtype
    assert values.dtype == dtype
    expected = curve.formula(steps, **FIXED[name])
    np.testing.assert_allclose(
        values.astype("float64"), expected, rtol=rtol, atol=1e-7 if rtol > EPS else 0
    )
