"""Schedules of one formula against that formula in NumPy float64, and against Keras."""

from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_dnn
from keras_dnn.optimizers.schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseSquareRootDecay,
    InverseTimeDecay,
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
    ("schedule", "formula"),
    [
        (PowerDecay(0.3, 20), lambda t: 0.3 / (1 + t / 20)),
        (ExponentialDecay(0.3, 20), lambda t: 0.3 * 0.1 ** (t / 20)),
        (InverseTimeDecay(0.3, 20), lambda t: 0.3 / (1 + t / 20)),
        (InverseSquareRootDecay(0.3), lambda t: 0.3 / np.sqrt(np.maximum(1, t))),
        (StepDecay(0.3, 20), lambda t: 0.3 * 0.1 ** (t // 20)),
        (CosineDecay(0.3, 99), lambda t: 0.15 * (1 + np.cos(np.pi * t / 99))),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_defaults_are_those_of_the_documentation(schedule, formula):
    # Not up to 99, where the last formula cancels.
    steps = np.arange(90.0)
    assert_close(schedule.values(steps), formula(steps))


@pytest.mark.parametrize(
    "length",
    [3, 7, 49, 93, 10**7 + 1, 2.5, 0.1, Fraction(7, 3), Fraction(10**5, 3)],
    ids=str,
)
@every_mode
def test_stairs_fall_exactly_at_the_multiples_of_their_length(mode, length):
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


@pytest.mark.parametrize(
    ("boundary", "dtype"), [(2**31, "int32"), (2**40, "int32"), (2**24 + 1, "float32")]
)
def test_pieces_may_change_later_than_the_dtype_of_the_step_can_tell(boundary, dtype):
    schedule = PiecewiseConstant([10, boundary], [0.5, 0.25, 0.125])
    for step, expected in ((9, 0.5), (10, 0.25), (2**24, 0.25)):
        assert float(schedule(tf.constant(step, dtype))) == expected
        assert float(schedule(step)) == expected
    np.testing.assert_array_equal(
        schedule.values([boundary - 1, boundary]), [0.25, 0.125]
    )


@given(
    st.floats(1e-6, 10),
    st.integers(1, 10**9) | st.floats(0.5, 1e9),
    # Times a rate, smaller ones are subnormal, which TensorFlow makes zeros.
    st.just(0.0) | st.floats(1e-30, 1),
)
@settings(deadline=None, max_examples=50, derandomize=True)
def test_cosine_begins_and_ends_exactly_and_stays_there(rate, length, alpha):
    schedule = CosineDecay(rate, length, alpha)
    assert schedule.values(0) == np.float32(rate)
    end = int(np.ceil(length))
    after = schedule.values([end, end + 1, 3 * end, 2**40])
    np.testing.assert_array_equal(after, np.float32(alpha * rate))


def test_inverse_square_root_rests_for_its_first_steps():
    values = InverseSquareRootDecay(0.3, 100).values(np.arange(103))
    np.testing.assert_array_equal(values[:101], np.float32(0.3))
    assert (np.diff(values[100:]) < 0).all()


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


# Keras's own


# Keras computes in the dtype of the first argument, NumPy's float64 here, and takes
# the others through float32, which these stand.
@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        *(
            (cls, {"decay_steps": 40, "decay_rate": rate})
            for cls in ("ExponentialDecay", "InverseTimeDecay")
            for rate in (0.375, 0.9375)
        ),
        ("ExponentialDecay", {"decay_steps": 16, "decay_rate": 0.5, "staircase": True}),
        ("CosineDecay", {"decay_steps": 40}),
        ("CosineDecay", {"decay_steps": 96, "alpha": 0.375}),
    ],
)
def test_equals_its_namesake_in_keras(cls, arguments):
    steps = np.concatenate([np.arange(200), [1000, 5000]])
    with floatx("float64"):
        ours = getattr(keras_dnn.optimizers.schedules, cls)(0.3, **arguments)
        actual = ours.values(steps)
    other = getattr(theirs, cls)(np.float64(0.3), **arguments)
    np.testing.assert_allclose(actual, other(steps), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize(
    ("boundaries", "rates"),
    [([5], [0.1, 0.7]), ([1, 2, 40], [0.3, 0.1, 0.2, 0.05])],
)
def test_pieces_change_one_step_before_those_of_keras(boundaries, rates):
    steps = np.arange(100)
    ours = PiecewiseConstant(boundaries, rates).values(steps)
    other = theirs.PiecewiseConstantDecay(boundaries, rates)
    late = np.array([other(step) for step in steps])
    np.testing.assert_array_equal(ours[:-1], late[1:])
    assert np.flatnonzero(ours != late).tolist() == boundaries


# Arguments


BAD_RATES = (-1e-9, -1.0, float("nan"), float("inf"), "1", None, True, [0.1])
BAD_LENGTHS = (0, 0.0, -5, float("nan"), float("inf"), "10", None, [5])
BAD_SHARES = (0.0, -0.1, 1.01, 2.0, float("nan"), "0.5", None)
BAD_STEPS = (0, -1, 2.5, float("nan"), "7", None)


def bad(cls, *valid, **values):
    """Each bad value with the valid arguments around it, in order."""
    return [
        pytest.param(cls, valid, name, value, id=f"{cls.__name__}-{name}={value}")
        for name, wrong in values.items()
        for value in wrong
    ]


@pytest.mark.parametrize(
    ("cls", "valid", "name", "value"),
    [
        *(
            case
            for cls in (PowerDecay, ExponentialDecay, InverseTimeDecay, CosineDecay)
            for case in bad(
                cls, 0.1, 10, initial_learning_rate=BAD_RATES, decay_steps=BAD_LENGTHS
            )
        ),
        *bad(PowerDecay, 0.1, 10, power=BAD_RATES),
        *bad(ExponentialDecay, 0.1, 10, decay_rate=BAD_SHARES),
        *bad(InverseTimeDecay, 0.1, 10, decay_rate=BAD_RATES),
        *bad(CosineDecay, 0.1, 10, alpha=(-0.1, 1.01, float("nan"), "0", None)),
        *bad(
            InverseSquareRootDecay,
            0.1,
            10,
            initial_learning_rate=BAD_RATES,
            decay_steps=BAD_LENGTHS,
        ),
        *bad(
            StepDecay,
            0.1,
            10,
            initial_learning_rate=BAD_RATES,
            drop_every=BAD_LENGTHS,
            factor=BAD_SHARES,
        ),
    ],
)
def test_bad_argument_is_named_and_shown(cls, valid, name, value):
    first, second = list(cls(*valid).get_config().items())[:1], valid[1]
    length = "drop_every" if cls is StepDecay else "decay_steps"
    arguments = {**dict(first), length: second, name: value}
    with pytest.raises(ValueError, match=f"^{name} must be a number in") as error:
        cls(**arguments)
    assert str(error.value).endswith(f"Received: {name}={value!r}")


@pytest.mark.parametrize(
    ("boundaries", "rates", "name"),
    [
        *(([5, step], [0.1, 0.2, 0.3], "boundaries") for step in BAD_STEPS),
        ([5, 5], [0.1, 0.2, 0.3], "boundaries"),
        ([5, 3], [0.1, 0.2, 0.3], "boundaries"),
        (5, [0.1, 0.2], "boundaries"),
        *(([5], [0.1, rate], "values") for rate in BAD_RATES),
        ([5], 0.1, "values"),
        ([5], [0.1], "values"),
        ([5], [0.1, 0.2, 0.3], "values"),
        ([], [], "values"),
    ],
    ids=str,
)
def test_bad_pieces_are_named_and_shown(boundaries, rates, name):
    with pytest.raises(ValueError, match=f"^{name} must.*Received: .*{name}="):
        PiecewiseConstant(boundaries, rates)


def test_numbers_may_be_those_of_numpy():
    made = [
        PowerDecay(np.float32(0.5), np.int64(5), np.float64(2)),
        PiecewiseConstant(np.array([3, 7]), np.float32([0.5, 0.25, 0.125])),
    ]
    same = [
        PowerDecay(0.5, 5, 2.0),
        PiecewiseConstant([3, 7], [0.5, 0.25, 0.125]),
    ]
    for one, other in zip(made, same, strict=True):
        config = one.get_config()
        assert config == other.get_config()
        assert not any(isinstance(value, np.generic) for value in config.values())
