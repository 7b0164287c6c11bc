"""Schedules made of schedules, alone and inside optimizers in `fit`."""

from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_dnn
from keras_dnn.optimizers.schedules import (
    CosineDecay,
    InverseSquareRootDecay,
    OneCycle,
    PiecewiseConstant,
    PowerDecay,
    Scaled,
    Sequence,
    StepDecay,
    Warmup,
)
from tests.optimizers.schedules.curve_cases import EPS, FAR, MODES, floatx
from tests.optimizers.schedules.rate_recorder import COUNT, rates_used, recorder

theirs = keras.optimizers.schedules
every_mode = pytest.mark.parametrize("mode", MODES)


# A second implementation


class Node(NamedTuple):
    schedule: theirs.LearningRateSchedule
    values: object  # of the steps, in float64


def leaf(schedule):
    """A schedule that has tests of its own."""
    return Node(schedule, lambda t: np.asarray(schedule(t), "float64"))


def warmup(node, steps, start):
    def values(t):
        first = node.values(np.zeros_like(t))
        rising = start + (first - start) * t / steps
        return np.where(t < steps, rising, node.values(np.maximum(t - steps, 0)))

    return Node(Warmup(node.schedule, steps, start), values)


def sequence(nodes, gaps):
    boundaries = np.cumsum(gaps).tolist()

    def values(t):
        starts = np.array([0, *boundaries])
        turn = np.searchsorted(starts, t, side="right") - 1
        parts = [
            n.values(np.maximum(t - s, 0)) for n, s in zip(nodes, starts, strict=True)
        ]
        return np.choose(turn, parts)

    return Node(Sequence([n.schedule for n in nodes], boundaries), values)


def scaled(node, factor):
    return Node(Scaled(node.schedule, factor), lambda t: node.values(t) * factor)


LEAVES = [
    CosineDecay(0.7, 60, 0.1),
    InverseSquareRootDecay(0.3, 20),
    OneCycle(0.9, 80, anneal="cosine"),
    OneCycle(0.9, 50).momentum(),
    PiecewiseConstant([5, 30], [0.2, 1.5, 0.6]),
    StepDecay(1.1, 13, 0.8),
    theirs.CosineDecay(0.7, 60, 0.1),
    theirs.ExponentialDecay(0.4, 49, 0.6, staircase=True),
    theirs.PiecewiseConstantDecay([5, 30], [0.2, 1.5, 0.6]),
    theirs.PolynomialDecay(0.5, 70, 0.05),
]
rates = st.floats(0, 2, width=32)
trees = st.recursive(
    st.sampled_from(LEAVES).map(leaf),
    lambda nodes: (
        st.builds(warmup, nodes, st.integers(1, 60), rates)
        | st.builds(scaled, nodes, rates)
        | st.integers(2, 4).flatmap(
            lambda n: st.builds(
                sequence,
                st.lists(nodes, min_size=n, max_size=n),
                st.lists(st.integers(1, 60), min_size=n - 1, max_size=n - 1),
            )
        )
    ),
    max_leaves=5,
)
STEPS = np.concatenate([np.arange(300), FAR])


@given(trees.filter(lambda node: node.schedule not in LEAVES))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_trees_of_schedules_are_what_their_formulas_say(node):
    expected = node.values(STEPS)
    actual = node.schedule.values(STEPS)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=6 * EPS, atol=12 * EPS)


def everything():
    """Each composition inside each other, of our schedules and of Keras's."""
    cosine, cycle = leaf(CosineDecay(0.7, 60, 0.1)), leaf(OneCycle(0.9, 80))
    keras_cosine = leaf(theirs.CosineDecay(0.7, 60, 0.1))
    polynomial = leaf(theirs.PolynomialDecay(0.5, 70, 0.05))
    return {
        "warmup": warmup(cosine, 49, 0.01),
        "warmup down": warmup(keras_cosine, 7, 1.5),
        "warmup warmup": warmup(warmup(cycle, 3, 0.2), 5, 0.1),
        "warmup sequence": warmup(sequence([cosine, polynomial], [20]), 10, 0.0),
        "warmup scaled": warmup(scaled(cycle, 0.3), 10, 0.0),
        "sequence": sequence([cycle, cosine, polynomial], [30, 1]),
        "sequence warmup": sequence([warmup(polynomial, 5, 0.0), cycle], [8]),
        "sequence sequence": sequence([sequence([cosine, cycle], [5]), cycle], [9]),
        "sequence scaled": sequence([scaled(keras_cosine, 0.3), cosine], [49]),
        "scaled": scaled(cycle, 0.1),
        "scaled keras": scaled(keras_cosine, 0.7),
        "scaled warmup": scaled(warmup(cosine, 93, 0.3), 1.7),
        "scaled sequence": scaled(sequence([keras_cosine, cycle], [25]), 0.6),
        "scaled scaled": scaled(scaled(polynomial, 0.3), 0.7),
    }


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_are_what_their_formulas_say_in_a_graph(mode, dtype):
    nodes = everything()
    compiled = MODES[mode](lambda t: {k: nodes[k].schedule(t) for k in nodes})
    steps = STEPS[STEPS.astype(dtype).astype("int64") == STEPS]
    for name, values in compiled(tf.constant(steps, dtype)).items():
        np.testing.assert_allclose(
            values,
            nodes[name].values(steps),
            rtol=6 * EPS,
            atol=6 * EPS,
            err_msg=name,
        )


class Python(theirs.LearningRateSchedule):
    """A constant, which Keras lets a schedule return as a number."""

    def __call__(self, step):
        return 0.25


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Warmup(Python(), 4), [0.0, 0.0625, 0.1875, 0.25, 0.25]),
        (Sequence([Python(), StepDecay(0.5, 1)], [4]), [0.25, 0.25, 0.25, 0.5, 0.05]),
        (Scaled(Python(), 0.5), [0.125] * 5),
    ],
    ids=["warmup", "sequence", "scaled"],
)
def test_takes_a_schedule_that_returns_a_number(schedule, expected):
    for step, value in zip([0, 1, 3, 4, 5], expected, strict=True):
        assert float(schedule(step)) == np.float32(value)


@pytest.mark.parametrize(
    "schedule",
    [
        Warmup(PowerDecay(0.1, 3), 7, start=0.3),
        Sequence([PowerDecay(0.1, 3), PowerDecay(0.7, 3)], [3]),
        Scaled(PowerDecay(0.1, 3), 0.7),
    ],
    ids=lambda schedule: schedule.name,
)
def test_values_are_in_the_float_that_keras_computes_with(schedule):
    steps = np.arange(30)
    expected = {
        "warmup": np.where(
            steps < 7, 0.3 - 0.2 * steps / 7, 0.1 / (1 + (steps - 7).clip(0) / 3)
        ),
        "sequence": np.where(
            steps < 3, 0.1 / (1 + steps / 3), 0.7 / (1 + (steps - 3).clip(0) / 3)
        ),
        "scaled": 0.07 / (1 + steps / 3),
    }[schedule.name]
    with floatx("float64"):
        values = schedule.values(steps)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected, rtol=1e-14)


@pytest.mark.parametrize("boundary", [2**31, 2**40])
def test_boundaries_beyond_int32_are_never_reached_by_an_int32_step(boundary):
    parts = [StepDecay(0.5, 10), StepDecay(0.25, 10)]
    schedules = [Sequence(parts, [boundary]), Warmup(parts[1], boundary, start=0.5)]
    for schedule in schedules:
        for step in (5, tf.constant(5)):
            np.testing.assert_allclose(float(schedule(step)), 0.5, rtol=1e-6)


@pytest.mark.parametrize("name", everything())
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (0,)])
def test_values_have_the_shape_of_the_steps(name, shape):
    schedule = everything()[name].schedule
    steps = np.arange(np.prod(shape, dtype=int)).reshape(shape) * 30
    values = schedule.values(steps)
    assert isinstance(values, np.ndarray)
    assert values.shape == shape
    np.testing.assert_array_equal(
        values.ravel(), [schedule.values(step) for step in steps.ravel()]
    )


# Inside optimizers


@pytest.mark.parametrize("name", ["warmup sequence", "sequence warmup", "scaled"])
@pytest.mark.parametrize("steps_per_execution", [1, 3])
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "cls", [keras_dnn.optimizers.SGD, keras.optimizers.SGD], ids=["ours", "Keras's"]
)
def test_fit_takes_the_rate_of_each_step(cls, jit_compile, steps_per_execution, name):
    node = everything()[name]
    model, _ = recorder(
        cls(node.schedule),
        jit_compile=jit_compile,
        steps_per_execution=steps_per_execution,
    )
    np.testing.assert_allclose(
        rates_used(model), node.values(np.arange(COUNT)), rtol=8 * EPS, atol=2 * EPS
    )


def test_fit_counts_updates_under_accumulation():
    node = everything()["sequence warmup"]
    model, _ = recorder(
        keras_dnn.optimizers.SGD(node.schedule, gradient_accumulation_steps=2)
    )
    expected = node.values(np.arange(COUNT // 2)).repeat(2) / 2
    np.testing.assert_allclose(rates_used(model), expected, rtol=8 * EPS)
