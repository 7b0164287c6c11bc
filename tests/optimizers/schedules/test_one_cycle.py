"""The values of the 1-cycle policy, for every length of training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_dnn.optimizers.schedules import OneCycle

EPS = np.finfo("float32").eps
VARIANTS = [
    pytest.param({"anneal": anneal, "final_fraction": final}, id=f"{anneal}-{final}")
    for anneal in ("linear", "cosine")
    for final in (0.1, 0.0)
]
# Rates that float32 rounds.
MAX, D0, D1 = 0.3, 7.0, 900.0


def one_cycle(total_steps, **options):
    return OneCycle(MAX, total_steps, initial_divisor=D0, final_divisor=D1, **options)


def knots(total_steps, start, peak, back, last, *, final_fraction, **_):
    """Steps and values where the phases meet, by the docstring, for T ≥ 3."""
    end = total_steps - 1
    top = min(max(round(0.45 * end), 1), end - 1)
    turn = end - round(final_fraction * end)
    if top < turn < end:
        return [0, top, turn, end], [start, peak, back, last]
    return [0, top, end], [start, peak, last]


def closed_form(steps, xs, ys, anneal):
    """Linear or cosine interpolation between knots in float64, constant outside."""
    if anneal == "linear":
        return np.interp(steps, xs, ys)
    phase = np.interp(steps, xs, np.arange(len(xs)))
    i = np.minimum(phase.astype(int), len(xs) - 2)
    falling = (1 + np.cos(np.pi * (phase - i))) / 2
    ys = np.array(ys)
    return ys[i + 1] + (ys[i] - ys[i + 1]) * falling


def rate_knots(total_steps, **options):
    start = MAX / D0
    return knots(total_steps, start, MAX, start, MAX / (D0 * D1), **options)


@pytest.fixture(params=VARIANTS)
def variant(request):
    """Options of `OneCycle`: each shape with three phases and with two."""
    return request.param


LENGTHS = [*range(3, 201), 997, 1000, 12345]


def test_follows_the_closed_form(variant):
    for total in LENGTHS:
        xs, ys = rate_knots(total, **variant)
        steps = (
            np.arange(total + 3)
            if total <= 200
            else np.unique(
                np.concatenate(
                    [np.arange(0, total, 37), *(np.array(xs) + d for d in (-1, 0, 1))]
                )
            ).clip(0)
        )
        np.testing.assert_allclose(
            one_cycle(total, **variant).values(steps),
            closed_form(steps, xs, ys, variant["anneal"]),
            rtol=2 * EPS,
            atol=2 * EPS * MAX,
            err_msg=f"{total=}",
        )


def test_last_phase_is_exact_relative_to_itself():
    """Far below the maximum, an error of its rounding would be a wrong rate."""
    schedule = one_cycle(1001, final_fraction=0.1)
    steps = np.arange(900, 1001)
    expected = np.interp(steps, [900, 1000], [MAX / D0, MAX / (D0 * D1)])
    np.testing.assert_allclose(
        schedule.values(steps), expected, rtol=0, atol=2 * EPS * MAX / D0
    )


def test_reaches_its_knots_exactly(variant):
    for total in LENGTHS:
        xs, ys = rate_knots(total, **variant)
        np.testing.assert_array_equal(
            one_cycle(total, **variant).values(xs),
            np.array(ys, "float32"),
            err_msg=f"{total=}",
        )


def test_two_steps_are_the_maximum_then_the_last_value(variant):
    np.testing.assert_array_equal(
        one_cycle(2, **variant).values([0, 1, 2, 100]),
        np.array([MAX] + 3 * [MAX / (D0 * D1)], "float32"),
    )


def test_a_single_step_is_the_maximum(variant):
    np.testing.assert_array_equal(
        one_cycle(1, **variant).values([0, 1, 100]), np.array(3 * [MAX], "float32")
    )


def assert_cycle(values, total, maximum, start, last):
    """One rise to the maximum, one fall, the last value after the end."""
    peak = int(np.argmax(values))
    assert values[peak] == np.float32(maximum)
    assert values[total - 1] == (np.float32(last) if total > 1 else values[peak])
    if total > 2:
        assert values[0] == np.float32(start)
        assert 0 < peak < total - 1
    assert (np.diff(values[: peak + 1]) >= 0).all()
    assert (np.diff(values[peak:]) <= 0).all()
    assert (values[total - 1 :] == values[total - 1]).all()


def test_rises_once_and_falls_once_and_then_is_constant(variant):
    for total in range(1, 201):
        values = one_cycle(total, **variant).values(np.arange(total + 5))
        assert_cycle(values, total, MAX, MAX / D0, MAX / (D0 * D1))


@given(
    maximum=st.floats(1e-6, 100),
    total=st.integers(1, 2000),
    divisors=st.tuples(st.floats(1.01, 1e3), st.floats(1, 1e5)),
    fractions=st.tuples(st.floats(0.01, 0.99), st.floats(0, 1)).filter(
        lambda pair: sum(pair) < 0.999
    ),
    anneal=st.sampled_from(["linear", "cosine"]),
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_keeps_its_promises_with_any_options(
    maximum, total, divisors, fractions, anneal
):
    schedule = OneCycle(
        maximum,
        total,
        initial_divisor=divisors[0],
        final_divisor=divisors[1],
        warmup_fraction=fractions[0],
        final_fraction=fractions[1],
        anneal=anneal,
    )
    values = schedule.values(np.arange(total + 3))
    last = maximum / (divisors[0] * divisors[1])
    assert_cycle(values, total, maximum, maximum / divisors[0], last)


@pytest.mark.parametrize("total", [10**7, 2**24 + 3, 10**8, 2**31 - 1])
def test_long_training_is_as_exact_as_a_short_one(variant, total):
    schedule = one_cycle(total, **variant)
    xs, ys = rate_knots(total, **variant)
    np.testing.assert_array_equal(schedule.values(xs), np.array(ys, "float32"))
    rng = np.random.default_rng(0)
    steps = np.concatenate([rng.integers(0, total, 500), [total - 2]])
    np.testing.assert_allclose(
        schedule.values(steps),
        closed_form(steps, xs, ys, variant["anneal"]),
        rtol=2 * EPS,
        atol=2 * EPS * MAX,
    )


def test_single_steps_differ_beyond_2_to_the_24():
    # A last phase of ten steps, 2**24 + 1 steps into the training.
    total = 2**24 + 11
    schedule = one_cycle(total, final_fraction=9.6 / (total - 1))
    turn = total - 11
    values = schedule.values(np.arange(turn, total))
    expected = np.linspace(MAX / D0, MAX / (D0 * D1), 11)
    np.testing.assert_allclose(values, expected, rtol=0, atol=4 * EPS * MAX / D0)


@pytest.mark.parametrize("step", [10**7, 2**24 + 1, 2**31 - 1, 2**40])
def test_last_value_stays(variant, step):
    rate = one_cycle(100, **variant)
    assert rate.values(step) == np.float32(MAX / (D0 * D1))
    assert rate.momentum().values(step) == np.float32(0.95)


# Kinds of steps


@pytest.mark.parametrize(
    "kind",
    [
        int,
        float,
        np.int32,
        np.int64,
        np.float32,
        np.float64,
        np.array,
        lambda step: tf.constant(step, "int32"),
        lambda step: tf.constant(step, "int64"),
        lambda step: tf.constant(step, "float32"),
        lambda step: tf.Variable(step, dtype="int64"),
        lambda step: keras.Variable(step, dtype="int32", trainable=False),
    ],
    ids=[
        *("int", "float", "np.int32", "np.int64", "np.float32", "np.float64"),
        *("array", "tf.int32", "tf.int64", "tf.float32", "tf.Variable"),
        "keras.Variable",
    ],
)
def test_takes_every_kind_of_step(kind, variant):
    rate = one_cycle(100, **variant)
    for schedule in (rate, rate.momentum()):
        expected = schedule.values(np.arange(120))
        for step in (0, 20, 45, 60, 95, 99, 119):
            value = keras.ops.convert_to_numpy(schedule(kind(step)))
            assert value.shape == ()
            assert value.dtype == np.float32
            assert value == expected[step]


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_gives_the_same_values_in_a_graph(variant, dtype, jit_compile):
    rate = one_cycle(100, **variant)
    compiled = tf.function(
        lambda steps: (rate(steps), rate.momentum()(steps)), jit_compile=jit_compile
    )
    steps = np.arange(120)
    rates, momenta = compiled(tf.constant(steps, dtype))
    # A compiler rounds less often, and turns a division into a multiplication.
    tolerance = 2 * EPS
    np.testing.assert_allclose(
        rates, rate.values(steps), rtol=tolerance, atol=tolerance * MAX
    )
    np.testing.assert_allclose(momenta, rate.momentum().values(steps), rtol=tolerance)


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_keeps_its_promises_in_a_graph(variant, jit_compile):
    # From 75 on: lengths of a phase whose reciprocal, times the length, is not 1.
    totals = [1, 2, 3, 4, 5, 50, 75, 76, 91, 92, 93]
    schedules = [one_cycle(total, **variant) for total in totals]
    compiled = tf.function(
        lambda steps: [schedule(steps) for schedule in schedules],
        jit_compile=jit_compile,
    )
    for total, values in zip(totals, compiled(tf.range(105)), strict=True):
        assert_cycle(values.numpy(), total, MAX, MAX / D0, MAX / (D0 * D1))
        if total > 2:
            xs, ys = rate_knots(total, **variant)
            np.testing.assert_array_equal(values.numpy()[xs], np.float32(ys))


def test_values_keep_the_shape_of_the_steps():
    schedule = one_cycle(100)
    values = schedule.values([[0, 1, 2], [3, 4, 5]])
    assert isinstance(values, np.ndarray)
    np.testing.assert_array_equal(values.ravel(), schedule.values(range(6)))
    assert values.shape == (2, 3)
    assert schedule.values(3).shape == ()


# The momentum partner


def test_momentum_falls_while_the_rate_rises(variant):
    for total in LENGTHS:
        xs, ys = knots(total, 0.97, 0.82, 0.97, 0.97, **variant)
        momentum = one_cycle(total, **variant).momentum(high=0.97, low=0.82)
        np.testing.assert_array_equal(momentum.values(xs), np.array(ys, "float32"))
        steps = np.arange(0, total + 3, 1 if total <= 200 else 53)
        np.testing.assert_allclose(
            momentum.values(steps),
            closed_form(steps, xs, ys, variant["anneal"]),
            rtol=2 * EPS,
            err_msg=f"{total=}",
        )


def test_momentum_stays_between_low_and_high(variant):
    for total in range(1, 201):
        values = one_cycle(total, **variant).momentum().values(np.arange(total + 5))
        assert values.min() == np.float32(0.85)
        assert values.max() <= np.float32(0.95)
        assert total == 1 or (values[total - 1 :] == np.float32(0.95)).all()


def test_momentum_is_lowest_exactly_where_the_rate_is_highest(variant):
    for total in range(1, 201):
        rate, steps = one_cycle(total, **variant), np.arange(total)
        assert np.argmin(rate.momentum().values(steps)) == np.argmax(rate.values(steps))


def test_momentum_is_high_through_the_last_phase():
    values = one_cycle(1001).momentum().values(np.arange(900, 1001))
    np.testing.assert_array_equal(values, np.float32(0.95))


def test_default_momentum_is_that_of_the_paper():
    momentum = one_cycle(21).momentum()
    np.testing.assert_array_equal(
        momentum.values([0, 9, 18, 20]), np.float32([0.95, 0.85, 0.95, 0.95])
    )


@pytest.mark.parametrize("warmup_fraction", [0.5, 0.7, 0.8, 0.9])
def test_fractions_may_come_to_one(warmup_fraction):
    final_fraction = round(1 - warmup_fraction, 2)
    schedule = one_cycle(
        101, warmup_fraction=warmup_fraction, final_fraction=final_fraction
    )
    values = schedule.values(np.arange(101))
    assert_cycle(values, 101, MAX, MAX / D0, MAX / (D0 * D1))
