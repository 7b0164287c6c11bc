"""`sparse="lazy"`: rows that a gradient does not name stay unchanged."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.optimizers import numpy_rules
from tests.optimizers.rule_cases import OTHER_SPELLINGS, RULES

EACH = RULES | OTHER_SPELLINGS
SOME = ["sgd", "nesterov", "adagrad", "adamw", "nadam"]
CLIPS = [{"clipnorm": 3.0}, {"global_clipnorm": 5.0}, {"clipvalue": 0.7}]
STEPS = 8
# A packed table, one that is not packed, and a dense weight between them.
SHAPES = [(20, 3), (4,), (9000, 4)]
NAMED = 6


def label(arguments):
    return "-".join(f"{k}={v}" for k, v in arguments.items()) or "plain"


# Exact in float32, so that Keras's rounding of floats does not matter.
NUMBERS = {
    "learning_rate": 2.0**-4,
    "momentum": 0.875,
    "rho": 0.875,
    "beta_1": 0.75,
    "beta_2": 0.9375,
    "weight_decay": 0.25,
    "epsilon": 2.0**-20,
    "initial_accumulator_value": 0.125,
}


def numbers(name):
    return {number: NUMBERS[number] for number in EACH[name].numbers}


def lazy(name, **arguments):
    return EACH[name].ours(**{**numbers(name), "sparse": "lazy", **arguments})


def assert_equal(actual, expected, rtol=1e-11):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)


@functools.cache
def training(steps=STEPS, seed=1):
    """Initial weights; for each step the rows named, some repeated, and gradients."""
    rng = np.random.default_rng(seed)
    start = [rng.normal(size=shape) for shape in SHAPES]
    rows = rng.integers(0, 10, size=(steps, 2, NAMED))
    rows[:, 1] *= 800
    gradients = [
        rng.normal(size=(steps, NAMED, 3)),
        rng.normal(size=(steps, 4)),
        rng.normal(size=(steps, NAMED, 4)),
    ]
    return start, rows, gradients


def as_gradients(rows, small, dense, big):
    return [
        tf.IndexedSlices(small, rows[0], tf.constant(SHAPES[0], tf.int64)),
        dense,
        tf.IndexedSlices(big, rows[1], tf.constant(SHAPES[2], tf.int64)),
    ]


def trained(optimizer, mode="graph", steps=STEPS):
    """The weights after each step, and the variables of the optimizer."""
    start, rows, gradients = training(steps)
    weights = [keras.Variable(w, dtype="float64") for w in start]
    optimizer.build(weights)

    def step(rows, *gradients):
        optimizer.apply(as_gradients(rows, *gradients), weights)

    if mode != "eager":
        step = tf.function(step, jit_compile=mode == "xla")
    trajectory, states = [], []
    for t in range(steps):
        step(tf.constant(rows[t]), *(tf.constant(g[t]) for g in gradients))
        trajectory.append([w.numpy() for w in weights])
        states.append([v.numpy() for v in optimizer.variables])
    return trajectory, states


def first_gradient_is_not_first_step(g, s, t, **hyperparameters):
    """AdaGrad, where `t` only tells whether the slot has its initial value."""
    t = 1 if "total" in vars(s) else 0
    return numpy_rules.adagrad(g, s, t, **hyperparameters)


def summed(rows, values, shape):
    table = np.zeros(shape)
    np.add.at(table, rows, values)
    return table


def in_numpy(name, *, accumulation=1, clip=None, weight_decay=None):
    """The last weights; each row of a table is a separate weight."""
    start, rows, gradients = training()
    rule = EACH[name]
    if weight_decay is None:
        weight_decay = numbers(name).get("weight_decay")
    arguments = {
        number: value
        if number in ("epsilon", "initial_accumulator_value")
        else numpy_rules.settable(lambda t, value=value: value)
        for number, value in {**numbers(name), "weight_decay": weight_decay}.items()
        if value is not None
    } | {n: v for n, v in rule.variant.items() if n != "nesterov"}

    def gradient(update, _):
        steps = range(update * accumulation, (update + 1) * accumulation)
        tables = [
            np.mean([summed(rows[t, i], g[t], shape) for t in steps], axis=0)
            for i, g, shape in zip(
                (0, 1), (gradients[0], gradients[2]), SHAPES[::2], strict=True
            )
        ]
        dense = np.mean([gradients[1][t] for t in steps], axis=0)
        bounds = dict.fromkeys(("clipnorm", "global_clipnorm", "clipvalue"))
        small, dense, big = numpy_rules.clipped(
            [tables[0], dense, tables[1]], **{**bounds, **(clip or {})}
        )
        named = [set(np.ravel(rows[list(steps), i])) for i in (0, 1)]
        return [
            dense,
            *(g if r in named[0] else None for r, g in enumerate(small)),
            *(g if r in named[1] else None for r, g in enumerate(big)),
        ]

    equation = rule.reference
    if equation is numpy_rules.adagrad:
        equation = first_gradient_is_not_first_step
    # Only the last row of the trajectory is needed, and most rows never change.
    trajectory = numpy_rules.train(
        equation,
        [start[1], *start[0], *start[2]],
        gradient,
        STEPS // accumulation,
        **arguments,
    )
    return trajectory[-1]


def flat(weights):
    small, dense, big = weights
    return numpy_rules.flat([dense, small, big])


@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.parametrize("name", EACH)
def test_only_the_named_rows_follow_the_rule(name, mode):
    trajectory, states = trained(lazy(name, weight_decay=0.25), mode)
    assert_equal(flat(trajectory[-1]), in_numpy(name, weight_decay=0.25))
    _, rows, _ = training()
    for t in range(1, STEPS):
        for i, table in enumerate((0, 2)):
            before, after = trajectory[t - 1][table], trajectory[t][table]
            changed = np.nonzero((before != after).any(axis=1))[0]
            assert set(changed) == set(rows[t, i])
        for before, after in zip(states[t - 1], states[t], strict=True):
            if after.shape == SHAPES[2]:
                changed = np.nonzero((before != after).any(axis=1))[0]
                assert set(changed) <= set(rows[t, 1])
            elif after.ndim == 1 and after.size > 4:
                # The packed table's numbers come with those of the dense weight.
                most = 3 * len(set(rows[t, 0])) + 4
                assert 0 < (before != after).sum() <= most


@pytest.mark.parametrize("name", SOME)
def test_lazy_steps_outside_a_graph(name):
    trajectory, _ = trained(lazy(name), "eager")
    assert_equal(flat(trajectory[-1]), in_numpy(name))


@pytest.mark.parametrize("clip", CLIPS, ids=label)
@pytest.mark.parametrize("name", SOME)
def test_the_rows_are_summed_and_then_clipped(name, clip):
    trajectory, _ = trained(lazy(name, **clip))
    assert_equal(flat(trajectory[-1]), in_numpy(name, clip=clip))


@pytest.mark.parametrize("clip", [{}, CLIPS[1], CLIPS[2]], ids=label)
@pytest.mark.parametrize("name", SOME)
def test_an_accumulated_update_changes_the_rows_that_any_batch_named(name, clip):
    optimizer = lazy(name, gradient_accumulation_steps=2, weight_decay=0.25, **clip)
    trajectory, _ = trained(optimizer)
    for even, odd in zip(trajectory[1:-1:2], trajectory[2::2], strict=True):
        np.testing.assert_array_equal(flat(even), flat(odd))
    expected = in_numpy(name, accumulation=2, clip=clip, weight_decay=0.25)
    assert_equal(flat(trajectory[-1]), expected)


@pytest.mark.parametrize("name", SOME)
def test_an_update_that_xla_compiles_is_the_same(name):
    trajectory, _ = trained(lazy(name, fused=True))
    assert_equal(flat(trajectory[-1]), in_numpy(name))


@pytest.mark.parametrize("shape", [(5, 3), (5, 7000)], ids=["packed", "alone"])
@pytest.mark.parametrize("name", EACH)
def test_naming_every_row_is_the_dense_rule(name, shape):
    rng = np.random.default_rng(5)
    start = rng.normal(size=shape)
    gradients = rng.normal(size=(STEPS, *shape))
    gradients[rng.integers(0, 2, gradients.shape) == 1] = 0.0
    gradients[..., 0] = 1.0

    def trained(sparse):
        table = keras.Variable(start, dtype="float64")
        other = keras.Variable(np.ones(3), dtype="float64")
        optimizer = lazy(name, sparse=sparse, weight_decay=0.25)
        optimizer.build([table, other])

        @tf.function
        def step(g):
            slices = tf.IndexedSlices(g, tf.range(5), tf.constant(shape))
            gradients = [slices if sparse == "lazy" else g, g[0, :3]]
            optimizer.apply(gradients, [table, other])

        for g in gradients:
            step(tf.constant(g))
        return numpy_rules.flat([table.numpy(), other.numpy()])

    assert_equal(trained("lazy"), trained("dense"))


@pytest.mark.parametrize(
    "arguments",
    [{}, {"global_clipnorm": 5.0}],
    ids=label,
)
@pytest.mark.parametrize("rows", [2, 9000], ids=["packed", "alone"])
@pytest.mark.parametrize("last", ["a number", "the row"])
@pytest.mark.parametrize("name", ["nesterov", "adam"])
def test_a_named_row_changes_even_if_its_gradient_is_zero(name, last, rows, arguments):
    """Momentum moves it and decay shrinks it, as in the dense rule."""

    def trained(sparse):
        optimizer = lazy(name, sparse=sparse, weight_decay=0.5, **arguments)
        table = keras.Variable(np.ones((rows, 4)), dtype="float64")
        other = keras.Variable(np.ones(3), dtype="float64")
        for t in range(6):
            g = np.array([[1.0, 0.5, -2.0, 3.0]])
            if t >= 2:
                g[0, slice(3, 4) if last == "a number" else slice(0, 4)] = 0.0
            slices = tf.IndexedSlices(tf.constant(g), [1], table.shape)
            optimizer.apply([slices, tf.ones(3, tf.float64)], [table, other])
        return table.numpy()[1]

    assert_equal(trained("lazy"), trained("dense"))


def pooled(size, optimizer, **compile_arguments):
    """Weights of a network on averaged embeddings, before and after an epoch."""
    rng = np.random.default_rng(6)
    tokens, labels = rng.integers(0, 8, size=(24, 3)), rng.normal(size=(24, 1))
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Embedding(size, 4, dtype="float64"),
            keras.layers.GlobalAveragePooling1D(dtype="float64"),
            keras.layers.Dense(1, dtype="float64"),
        ]
    )
    start = [rng.normal(size=w.shape) for w in model.get_weights()]
    model.set_weights(start)
    loss = keras.losses.MeanSquaredError(dtype="float64")
    model.compile(optimizer, loss=loss, **compile_arguments)
    model.fit(tokens, labels, 4, verbose=0, shuffle=False)
    return start, model.get_weights()


@pytest.mark.parametrize(("name", "size"), [("adam", 12), ("nesterov", 9000)])
def test_lazy_training_in_fit(name, size):
    start, eager = pooled(size, lazy(name, weight_decay=0.1), run_eagerly=True)
    np.testing.assert_array_equal(eager[0][8:], start[0][8:])
    assert (eager[0][:8] != start[0][:8]).all()
    _, dense = pooled(size, lazy(name, weight_decay=0.1, sparse="dense"))
    assert np.abs(dense[0][:8] - eager[0][:8]).max() > 1e-4
    for jit_compile in (False, True):
        optimizer = lazy(name, weight_decay=0.1)
        _, weights = pooled(size, optimizer, jit_compile=jit_compile)
        assert_equal(numpy_rules.flat(weights), numpy_rules.flat(eager))


@pytest.mark.parametrize(
    "arguments",
    [{}, {"gradient_accumulation_steps": 2, "weight_decay": 0.25}, CLIPS[1]],
    ids=label,
)
@pytest.mark.parametrize("name", ["adam", "nesterov"])
def test_two_replicas_name_their_rows_together(two_replicas, name, arguments):
    start, rows, gradients = training()
    with two_replicas.scope():
        weights = [keras.Variable(w, dtype="float64") for w in start]
        optimizer = lazy(name, **arguments)
        optimizer.build(weights)

    def on_replica(rows, small, dense, big):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows, small, big = (
            tf.gather(tf.split(whole, 2, axis), replica)
            for whole, axis in ((rows, 1), (small, 0), (big, 0))
        )
        optimizer.apply(as_gradients(rows, small, dense / 2, big), weights)

    step = tf.function(lambda *given: two_replicas.run(on_replica, given))
    for t in range(STEPS):
        step(tf.constant(rows[t]), *(tf.constant(g[t]) for g in gradients))
    expected, _ = trained(lazy(name, **arguments))
    assert_equal(flat([w.numpy() for w in weights]), flat(expected[-1]))
