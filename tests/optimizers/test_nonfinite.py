"""`nonfinite="skip"` skips updates that would make the weights NaN."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.optimizers.rule_cases import RULES

SOME = ["sgd", "nesterov", "adam"]
# Two packed weights and one that is not packed.
SHAPES = [(4, 3), (33_000,), (3,)]
BAD = [np.nan, np.inf, -np.inf]


def label(arguments):
    return "-".join(f"{k}={v}" for k, v in arguments.items()) or "plain"


def skipping(name, **arguments):
    return RULES[name].ours(learning_rate=0.05, nonfinite="skip", **arguments)


def good_gradients(steps=4, seed=1):
    rng = np.random.default_rng(seed)
    return [[rng.normal(size=shape) for shape in SHAPES] for _ in range(steps)]


def broken(step, weight, value):
    """The gradients with one number, the last of a weight, replaced."""
    step = [g.copy() for g in step]
    step[weight].flat[-1] = value
    return step


def trained(optimizer, steps, mode="eager"):
    """The state after each step: the weights, then the optimizer's variables."""
    rng = np.random.default_rng(2)
    weights = [
        keras.Variable(rng.normal(size=s), dtype="float64", name=f"w{i}")
        for i, s in enumerate(SHAPES)
    ]
    optimizer.build(weights)

    def apply(gradients):
        optimizer.apply(gradients, weights)

    if mode != "eager":
        apply = tf.function(apply, jit_compile=mode == "xla")
    states = []
    for step in steps:
        apply([tf.constant(g) for g in step])
        states.append({f"weight {i}": w.numpy() for i, w in enumerate(weights)})
        for v in optimizer.variables:
            name = v.path.split("/")[-1]
            # The count of skipped steps differs.
            if "skipped" not in name:
                states[-1][name] = v.numpy()
    return states


def assert_same_state(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("name", RULES)
def test_training_is_that_without_the_bad_steps(name, mode):
    optimizer, twin = (skipping(name, weight_decay=0.1) for _ in range(2))
    a, b, c, d = good_gradients()
    bad = [broken(b, i, value) for i, value in enumerate(BAD)]
    actual = trained(optimizer, [bad[0], a, b, bad[1], bad[2], c, d], mode)
    expected = trained(twin, [a, b, c, d], mode)
    assert_same_state(actual[-1], expected[-1])
    for state in actual[2:5]:
        assert_same_state(state, expected[1])
    assert int(optimizer.skipped_steps) == 3
    assert int(optimizer.iterations) == 4
    assert int(twin.skipped_steps) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"clipvalue": 0.5},
        {"clipnorm": 1.0},
        {"global_clipnorm": 1.0},
        {"use_ema": True, "ema_momentum": 0.75},
        {"use_ema": True, "ema_overwrite_frequency": 2, "clipvalue": 0.5},
        {"loss_scale_factor": 8.0},
        {"fused": True},
    ],
    ids=label,
)
@pytest.mark.parametrize("mode", ["graph", "xla"])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_bad_step_is_always_found(name, mode, arguments):
    optimizer, twin = (skipping(name, **arguments) for _ in range(2))
    a, b, c, d = good_gradients()
    bad = [broken(b, i, value) for i, value in enumerate(BAD)]
    actual = trained(optimizer, [a, *bad, b, c, d], mode)[-1]
    assert_same_state(actual, trained(twin, [a, b, c, d], mode)[-1])
    assert int(optimizer.skipped_steps) == 3


@pytest.mark.parametrize("mode", ["eager", "xla"])
@pytest.mark.parametrize("name", ["adam"])
def test_a_schedule_does_not_advance_in_a_bad_step(name, mode):
    def make():
        schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
        return RULES[name].ours(learning_rate=schedule, nonfinite="skip")

    a, b, c, _ = good_gradients()
    actual = trained(make(), [a, broken(a, 0, np.nan), b, c], mode)[-1]
    assert_same_state(actual, trained(make(), [a, b, c], mode)[-1])


@pytest.mark.parametrize("clip", [{}, {"clipvalue": 0.5}], ids=label)
@pytest.mark.parametrize("bad_batch", [0, 1, 2])
@pytest.mark.parametrize("name", SOME)
def test_an_accumulated_update_with_a_bad_batch_is_skipped(name, bad_batch, clip):
    """The good batches of the same update are lost with it."""
    arguments = {"gradient_accumulation_steps": 3, "weight_decay": 0.1, **clip}
    optimizer, twin = (skipping(name, **arguments) for _ in range(2))
    good = good_gradients(9)
    steps = list(good)
    steps[3 + bad_batch] = broken(steps[3 + bad_batch], 1, np.inf)
    actual = trained(optimizer, steps, "graph")
    expected = trained(twin, good[:3] + good[6:], "graph")
    assert_same_state(actual[5], expected[2])
    assert_same_state(actual[-1], expected[-1])
    assert int(optimizer.skipped_steps) == 1
    assert int(optimizer.iterations) == 2


@pytest.mark.parametrize("sparse", ["dense", "lazy"])
@pytest.mark.parametrize("rows", [5, 9000])
@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam"])
def test_a_bad_row_of_a_sparse_gradient_skips_the_step(name, rows, sparse):
    ends = []
    for values in ([1.0, np.nan, 2.0, np.inf], [1.0, 2.0]):
        optimizer = skipping(name, sparse=sparse, clipvalue=0.5)
        table = keras.Variable(np.ones((rows, 4)), dtype="float64")
        other = keras.Variable(np.ones(3), dtype="float64")
        optimizer.build([table, other])
        for value in values:
            g = tf.constant([[1.0] * 4, [value] * 4], "float64")
            slices = tf.IndexedSlices(g, [1, 3], table.shape)
            optimizer.apply([slices, tf.ones(3, tf.float64)], [table, other])
        ends.append([table.numpy(), other.numpy()])
        assert int(optimizer.skipped_steps) == len(values) - 2
    for actual, expected in zip(*ends, strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("name", RULES)
def test_without_it_a_bad_step_makes_the_weights_nan(name):
    a, b, *_ = good_gradients()
    optimizer = RULES[name].ours()
    end = trained(optimizer, [a, broken(a, 0, np.nan), b])[-1]
    assert np.isnan(end["weight 0"]).any()
    assert int(optimizer.iterations) == 3


# In `fit`

X = np.random.default_rng(3).normal(size=(40, 4))
Y = X @ [[1], [-2], [0.5], [3]]


def fitted(optimizer, x, y, **compile_arguments):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(1, kernel_initializer="ones", dtype="float64"),
        ]
    )
    model.compile(optimizer, loss="mse", **compile_arguments)
    model.fit(x, y, 8, epochs=2, verbose=0, shuffle=False)
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("name", SOME)
def test_fit_continues_as_if_the_bad_batch_did_not_exist(name, jit_compile):
    broken_x = X.copy()
    broken_x[17, 2] = np.nan
    bad = slice(16, 24)
    optimizer, twin = (skipping(name, clipvalue=1.0) for _ in range(2))
    actual = fitted(optimizer, broken_x, Y, jit_compile=jit_compile)
    expected = fitted(
        twin, np.delete(X, bad, 0), np.delete(Y, bad, 0), run_eagerly=True
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert np.abs(expected[:4] - 1).max() > 1e-5
    assert int(optimizer.skipped_steps) == 2
    assert int(optimizer.iterations) == int(twin.iterations) == 8
