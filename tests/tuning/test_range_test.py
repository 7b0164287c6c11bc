"""What the range test records in `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn import optimizers
from keras_dnn.tuning import _range_test_rules as rules
from keras_dnn.tuning import find_learning_rate
from tests.tuning.sweeping import (
    BATCH,
    LOSS,
    WEIGHTS,
    X,
    Y,
    linear_model,
    replayed,
)


def label(arguments):
    return "-".join(f"{k}={v}" for k, v in arguments.items()) or "plain"


class Batches(keras.utils.PyDataset):
    """Rows in order."""

    def __len__(self):
        return len(X) // BATCH

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return X[rows], Y[rows]


SWEEP = {"min_rate": 1e-3, "max_rate": 0.3, "steps": 20, "shuffle": False}
GEOMETRIC = 1e-3 * 300 ** (np.arange(20) / 19)


@pytest.mark.parametrize("make", [optimizers.SGD, keras.optimizers.SGD])
@pytest.mark.parametrize(
    "mode",
    [
        {"jit_compile": False},
        {"jit_compile": True, "steps_per_execution": 3},
        {"run_eagerly": True},
        {"gradient_accumulation_steps": 3},
        {"gradient_accumulation_steps": 3, "steps_per_execution": 2},
    ],
    ids=label,
)
def test_losses_are_those_of_the_same_sweep_in_numpy(make, mode):
    every = mode.get("gradient_accumulation_steps", 1)
    compiled = {k: v for k, v in mode.items() if k != "gradient_accumulation_steps"}
    own = {"gradient_accumulation_steps": every} if every > 1 else {}
    model = linear_model(make(0.5, **own), **compiled)
    result = find_learning_rate(model, X, Y, batch_size=BATCH, **SWEEP)
    np.testing.assert_allclose(result.rates, GEOMETRIC, rtol=2e-7)
    np.testing.assert_allclose(result.losses, replayed(GEOMETRIC, every), rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            lambda: {"x": X, "y": Y, "sample_weight": WEIGHTS, "batch_size": 8},
            lambda: replayed(GEOMETRIC, weights=WEIGHTS),
        ),
        (
            lambda: {"x": tf.data.Dataset.from_tensor_slices((X, Y)).batch(10)},
            lambda: replayed(GEOMETRIC, batch=10),
        ),
        (
            lambda: {
                "x": tf.data.Dataset.from_tensor_slices((X, Y, WEIGHTS[:, None]))
                .batch(8)
                .repeat()
            },
            lambda: replayed(GEOMETRIC, weights=WEIGHTS),
        ),
        (lambda: {"x": Batches()}, lambda: replayed(GEOMETRIC)),
        (
            lambda: {"x": tf.constant(X), "y": tf.constant(Y), "batch_size": 12},
            lambda: replayed(GEOMETRIC, batch=12),
        ),
    ],
    ids=[
        "sample weights",
        "tf.data",
        "weighted endless tf.data",
        "PyDataset",
        "tensor",
    ],
)
def test_data_of_every_kind_are_repeated(data, expected):
    model = linear_model(optimizers.SGD(0.5))
    result = find_learning_rate(model, **data(), **SWEEP)
    np.testing.assert_allclose(result.losses, expected(), rtol=1e-6)


def test_class_weight_weighs_each_row_by_its_class():
    labels = (Y > 0).astype("int32")
    losses = [
        find_learning_rate(
            linear_model(optimizers.SGD()), X, labels, **weighted, **SWEEP
        ).losses
        for weighted in (
            {"class_weight": {0: 0.5, 1: 2.0}},
            {"sample_weight": np.where(labels, 2.0, 0.5)[:, 0]},
        )
    ]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_several_inputs_and_outputs_add_up():
    inputs = {name: keras.Input((2,), name=name, dtype="float64") for name in "ab"}
    joined = keras.layers.Concatenate(dtype="float64")(list(inputs.values()))
    dense = {
        name: keras.layers.Dense(
            1, use_bias=False, kernel_initializer="zeros", dtype="float64", name=name
        )(joined)
        for name in ("first", "second")
    }
    model = keras.Model(inputs, dense)
    model.compile(optimizers.SGD(0.5), {"first": LOSS, "second": LOSS})
    x, y = {"a": X[:, :2], "b": X[:, 2:]}, {"first": Y, "second": Y}
    result = find_learning_rate(model, x, y, batch_size=BATCH, **SWEEP)
    np.testing.assert_allclose(result.losses, 2 * replayed(GEOMETRIC), rtol=1e-6)


@pytest.mark.parametrize("make", [optimizers.SGD, keras.optimizers.SGD])
def test_two_replicas_record_the_same_as_one_device(two_replicas, make):
    with two_replicas.scope():
        model = linear_model(make(0.5))
    result = find_learning_rate(model, X, Y, batch_size=BATCH, **SWEEP)
    np.testing.assert_allclose(result.rates, GEOMETRIC, rtol=2e-7)
    np.testing.assert_allclose(result.losses, replayed(GEOMETRIC), rtol=1e-6)


def test_a_linear_sweep_rises_in_equal_steps():
    model = linear_model(optimizers.SGD(0.5))
    result = find_learning_rate(
        model, X, Y, batch_size=BATCH, sweep="linear", **{**SWEEP, "min_rate": 0.01}
    )
    rates = np.linspace(0.01, 0.3, 20)
    np.testing.assert_allclose(result.rates, rates, rtol=2e-7)
    np.testing.assert_allclose(result.losses, replayed(rates), rtol=1e-6)


def test_the_sweep_begins_at_its_first_rate_also_between_updates():
    """Four batches of three: the optimizer waits for two more."""
    for make in (optimizers.SGD, keras.optimizers.SGD):
        model = linear_model(make(1e-3, gradient_accumulation_steps=3))
        model.fit(X[:32], Y[:32], BATCH, verbose=0)
        result = find_learning_rate(model, X, Y, batch_size=BATCH, **SWEEP)
        np.testing.assert_allclose(result.rates, GEOMETRIC, rtol=2e-7)


def test_default_rates_span_eight_decades_in_two_hundred_steps():
    result = find_learning_rate(encoded(), RAMP, np.linspace(2, 1, 200)[:, None])
    np.testing.assert_allclose(result.rates, np.geomspace(1e-7, 10, 200), rtol=2e-7)


@pytest.mark.parametrize("make", [optimizers.SGD, keras.optimizers.SGD])
def test_updates_that_overflow_do_not_shorten_the_sweep(make):
    wrapped = keras.optimizers.LossScaleOptimizer(make(), initial_scale=2.0**127)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(wrapped, "mse")
    result = find_learning_rate(model, X, Y, batch_size=BATCH, **SWEEP)
    np.testing.assert_allclose(result.rates, GEOMETRIC, rtol=2e-7)


# Losses that the targets prescribe

RAMP = np.arange(200.0)[:, None]


def encoded(optimizer="sgd", **compile_arguments):
    """A model whose loss is the mean of its targets."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(
        optimizer,
        lambda y, out: keras.ops.mean(y, axis=-1) + 0.0 * keras.ops.mean(out, -1),
        **compile_arguments,
    )
    return model


def swept(targets, *, compiled=None, optimizer="sgd", **arguments):
    given = {"batch_size": 1, "steps": len(targets), "shuffle": False, "max_rate": 1e-3}
    targets = np.asarray(targets, "float32")[:, None]
    x = np.zeros_like(targets)
    model = encoded(optimizer, **(compiled or {}))
    return find_learning_rate(model, x, targets, **{**given, **arguments})


@pytest.mark.parametrize(("smoothing", "stop_factor"), [(0.5, 2.0), (0.9, 4.0)])
def test_the_sweep_stops_where_the_smoothed_loss_is_too_high(smoothing, stop_factor):
    losses = np.concatenate([np.linspace(2, 1, 20), np.geomspace(1, 1e4, 40)])
    averages = [
        np.average(losses[: t + 1], weights=smoothing ** np.arange(t, -1.0, -1))
        for t in range(60)
    ]
    lowest = np.minimum.accumulate(averages)
    stop = int(np.argmax(averages > stop_factor * lowest))
    assert stop > 20
    result = swept(losses, smoothing=smoothing, stop_factor=stop_factor)
    np.testing.assert_allclose(result.losses, losses[: stop + 1], rtol=1e-6)
    np.testing.assert_allclose(result.smoothed, averages[: stop + 1], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_the_sweep_stops_at_a_loss_that_is_not_finite(bad, steps_per_execution):
    losses = np.linspace(2, 1, 60)
    losses[25] = bad
    result = swept(losses, compiled={"steps_per_execution": steps_per_execution})
    assert 26 <= len(result.losses) < 26 + steps_per_execution
    np.testing.assert_allclose(result.losses[:26], losses[:26], rtol=1e-6)
    assert result.suggestion is None
    assert "y holds NaN or Inf in row 25" in result.reason


def test_weights_that_are_not_finite_end_a_sweep_whose_loss_hides_them():
    x = np.where(np.arange(48) == 27, np.nan, X[:, 0])[:, None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])

    def hidden(y, y_pred):
        return keras.ops.where(keras.ops.isfinite(y_pred), 1 + y_pred**2, 1.0)

    model.compile("sgd", hidden)
    data = tf.data.Dataset.from_tensor_slices((x, Y)).batch(8)
    result = find_learning_rate(model, data, steps=40)
    # The batch of that row is the fourth one; the weights are NaN from its update on.
    assert np.isfinite(result.losses[:4]).all()
    assert np.isnan(result.losses[4])
    assert len(result.losses) == 5
    assert "a weight is not finite after 4 updates" in result.reason


def test_a_first_loss_that_is_low_by_chance_does_not_stop_the_sweep():
    """The smoothed loss counts after a tenth of the steps."""
    losses = np.full(60, 10.0)
    losses[0] = 0.1
    assert len(swept(losses, smoothing=0.5).rates) == 60


def test_the_kind_of_rule_decides(monkeypatch):
    """Adam's steps are scaled by past gradients, those of momentum are not."""
    seen = {}

    def advice(curve, kind):
        seen[kind] = True
        return rules.Advice(1.0, 2.0)

    monkeypatch.setattr(rules, "advice", advice)
    for make, kind in (
        (keras.optimizers.SGD, "plain"),
        (optimizers.SGD, "plain"),
        (optimizers.Momentum, "plain"),
        (optimizers.Nesterov, "plain"),
        (keras.optimizers.Adam, "adaptive"),
        (optimizers.RMSProp, "adaptive"),
    ):
        seen.clear()
        losses = np.linspace(2, 1, 60)
        assert swept(losses, optimizer=make()).max_learning_rate == 2.0
        assert list(seen) == [kind]


def test_negative_losses_do_not_stop_the_sweep():
    losses = -10 - np.linspace(0, 3, 60) + np.random.default_rng(1).normal(0, 0.1, 60)
    assert len(swept(losses, smoothing=0.5).rates) == 60


def test_the_result_is_read_from_the_recorded_losses():
    u = np.linspace(-7, -1, 60)
    losses = 2.3 - 1.5 / (1 + np.exp(-(u + 3.5) / 0.25))
    result = swept(losses, max_rate=0.1, seed=4)
    assert np.log10(result.suggestions["valley"]) == pytest.approx(-3.5, abs=0.1)
    assert result.interval[0] <= result.suggestion <= result.interval[1]


def test_shuffling_takes_every_row_once_before_any_again():
    targets = np.arange(40.0)
    results = [
        swept(targets, batch_size=4, steps=20, shuffle=True, seed=seed)
        for seed in (1, 1, 2)
    ]
    first, again, other = (result.losses for result in results)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first[:10].mean() == first[10:].mean() == pytest.approx(targets.mean())
    assert not np.array_equal(first[:10], first[10:])


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_verbose_shows_a_complete_bar_or_nothing(capsys, steps_per_execution):
    compiled = {"steps_per_execution": steps_per_execution}
    swept(np.ones(30), compiled=compiled, verbose=0)
    assert capsys.readouterr().out == ""
    swept(np.ones(30), compiled=compiled, verbose=1)
    assert "30/30" in capsys.readouterr().out


# Bad arguments


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("min_rate", v) for v in (0, -1e-3, float("nan"), "1e-3", True, None)),
        *(("max_rate", v) for v in (1e-7, 1e-9, float("inf"), float("nan"), None)),
        *(("steps", v) for v in (1, 0, -5, 10.5, "10", True, None)),
        *(("batch_size", v) for v in (0, -1, 2.5, None)),
        *(("smoothing", v) for v in (1.0, -0.1, float("nan"), None)),
        *(("stop_factor", v) for v in (1.0, 0.5, float("nan"), None)),
        *(("sweep", v) for v in ("exp", None, 3)),
        *(("shuffle", v) for v in ("no", None, 1)),
    ],
)
def test_bad_values_are_named_and_shown(name, value):
    with pytest.raises(ValueError, match=name) as error:
        find_learning_rate(encoded(), RAMP, RAMP, **{name: value})
    assert f"Received: {name}={value!r}" in str(error.value)


def test_a_model_must_be_compiled():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="model must be compiled"):
        find_learning_rate(model, RAMP, RAMP)


@pytest.mark.parametrize(
    "data",
    [(RAMP, RAMP[:9]), (RAMP[:9], RAMP), (RAMP[:0], RAMP[:0])],
    ids=["few targets", "many targets", "nothing"],
)
def test_arrays_of_different_lengths_and_empty_ones_are_refused(data):
    with pytest.raises(ValueError, match=r"\b[xy]\b"):
        find_learning_rate(encoded(), *data)
