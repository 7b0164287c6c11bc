"""`StepLogger` against a linear model trained in NumPy."""

import contextlib
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import StepLogger
from keras_dnn.optimizers import SGD, AdaGrad, Adam, Momentum
from keras_dnn.optimizers.schedules import CosineDecay, OneCycle
from tests.callbacks.harness import MODES as MODES_OF_ALL
from tests.callbacks.harness import Raise, fit

# Seven batches of four, of which the last is a short one.
SAMPLES, BATCH, BATCHES, EPOCHS = 26, 4, 7, 3
STEPS = BATCHES * EPOCHS
RATE = CosineDecay(0.1, decay_steps=30)
BETA = OneCycle(0.1, 25).momentum(0.9, 0.5)


def data(samples=SAMPLES):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(samples, 3)).astype("float32")
    return x, (rng.normal(size=(samples, 1)) + 2).astype("float32")


def batches(x, y, epochs=EPOCHS, weights=None, size=BATCH):
    weights = np.ones(len(x)) if weights is None else weights
    for _ in range(epochs):
        for i in range(0, len(x), size):
            yield x[i : i + size], y[i : i + size], weights[i : i + size]


def linear(dtype="float32", **options):
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(
                1,
                kernel_initializer="ones",
                use_bias=False,
                dtype=dtype,
                **options,
            ),
        ]
    )


def losses_of(rows, rates, momenta, *, accumulate=1, l2=0.0):
    """The loss of each batch, before the step it leads to, in float64."""
    w, m, pending = np.ones((3, 1)), np.zeros((3, 1)), []
    losses = []
    for step, (x, y, weights) in enumerate(rows):
        error = x.astype("float64") @ w - y
        scale = weights[:, None] / len(x)
        losses.append(np.sum(scale * error**2) + l2 * np.sum(w**2))
        pending.append(2 * x.T @ (scale * error) + 2 * l2 * w)
        if len(pending) == accumulate:
            t = step // accumulate
            m = momenta[t] * m - rates[t] * np.mean(pending, axis=0)
            w, pending = w + m, []
    return np.array(losses)


def train(model, callbacks, epochs=EPOCHS, samples=SAMPLES, **options):
    """Fits a compiled model to the data."""
    return fit(
        model, data(samples), callbacks, epochs=epochs, batch_size=BATCH, **options
    )


def assert_logged(log, rates, momenta, losses, rtol=2e-5):
    np.testing.assert_array_equal(log.steps, np.arange(len(losses)))
    for found in (log.learning_rates, log.momenta, log.losses):
        assert isinstance(found, np.ndarray)
        assert found.shape == (len(losses),)
    np.testing.assert_allclose(log.learning_rates, rates, rtol=1e-6)
    np.testing.assert_allclose(log.momenta, momenta, rtol=1e-6)
    np.testing.assert_allclose(log.losses, losses, rtol=rtol)


def truth(steps=STEPS, **options):
    rates, momenta = RATE.values(range(steps)), BETA.values(range(steps))
    rows = list(batches(*data()))[:steps]
    return rates, momenta, losses_of(rows, rates, momenta, **options)


# Three batches in a block do not divide the epoch.
MODES = {
    **MODES_OF_ALL,
    "blocks": {"steps_per_execution": 3},
    "one block": {"steps_per_execution": 50},
}


@pytest.mark.parametrize("mode", MODES)
def test_each_step_has_the_values_it_used(mode):
    model, log = linear(), StepLogger()
    model.compile(Momentum(RATE, BETA), "mse", **MODES[mode])
    train(model, [log])
    assert_logged(log, *truth())


@pytest.mark.parametrize("mode", ["default", "blocks"])
def test_with_an_optimizer_of_keras(mode):
    model, log = linear(), StepLogger()
    optimizer = keras.optimizers.SGD(RATE, momentum=0.75)
    model.compile(optimizer, "mse", **MODES[mode])
    train(model, [log], validation_data=data(9))
    rates, momenta = RATE.values(range(STEPS)), np.full(STEPS, 0.75)
    losses = losses_of(batches(*data()), rates, momenta)
    assert_logged(log, rates, momenta, losses)


def test_on_two_replicas_the_loss_is_that_of_the_whole_batch(two_replicas):
    log = StepLogger()
    with two_replicas.scope():
        model = linear()
        model.compile(Momentum(RATE, BETA), "mse")
    train(model, [log], samples=24)
    rates, momenta = RATE.values(range(18)), BETA.values(range(18))
    losses = losses_of(batches(*data(24)), rates, momenta)
    assert_logged(log, rates, momenta, losses)


def test_the_loss_is_free_of_the_loss_scale():
    model, log = linear(), StepLogger()
    optimizer = keras.optimizers.LossScaleOptimizer(Momentum(RATE, BETA), 256.0)
    model.compile(optimizer, "mse")
    train(model, [log])
    assert_logged(log, *truth())


def test_in_mixed_float16():
    model, log = linear("mixed_float16"), StepLogger()
    optimizer = keras.optimizers.LossScaleOptimizer(Momentum(RATE, BETA), 256.0)
    model.compile(optimizer, "mse", steps_per_execution=3)
    train(model, [log])
    assert_logged(log, *truth(), rtol=0.02)


def test_in_accumulation_there_is_a_row_for_each_batch():
    model, log = linear(), StepLogger()
    model.compile(Momentum(RATE, BETA, gradient_accumulation_steps=3), "mse")
    train(model, [log])
    assert len(log.steps) == STEPS
    rates, momenta, losses = truth(accumulate=3)
    updates = np.arange(STEPS) // 3
    assert_logged(log, rates[updates], momenta[updates], losses)


def test_regularisation_and_sample_weights_are_part_of_the_loss():
    model = linear(kernel_regularizer=keras.regularizers.L2(0.125))
    log = StepLogger()
    model.compile(Momentum(RATE, BETA), "mse")
    weights = np.linspace(0, 3, SAMPLES).astype("float32")
    fit(model, (*data(), weights), log, epochs=EPOCHS, batch_size=BATCH)
    rates, momenta = RATE.values(range(STEPS)), BETA.values(range(STEPS))
    rows = batches(*data(), weights=weights)
    assert_logged(log, rates, momenta, losses_of(rows, rates, momenta, l2=0.125))


def test_the_losses_of_several_outputs_are_added_up():
    x = keras.Input((3,))
    outputs = {
        name: keras.layers.Dense(1, use_bias=False, name=name)(x) for name in "ab"
    }
    model, log = keras.Model(x, outputs), StepLogger()
    model.compile(
        SGD(0.0),
        {"a": "mse", "b": lambda y, y_hat: tf.reduce_mean(tf.abs(y - y_hat), -1)},
        loss_weights={"a": 2.0, "b": 0.5},
    )
    inputs, y = data()
    model.fit(
        inputs,
        {"a": y, "b": -y},
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=[log],
    )
    a, b = (inputs @ w for w in model.get_weights())
    each = 2 * (a - y) ** 2 + 0.5 * np.abs(b + y)
    expected = [each[i : i + BATCH].mean() for i in range(0, SAMPLES, BATCH)]
    np.testing.assert_allclose(log.losses, expected, rtol=1e-5)


def test_logging_changes_nothing():
    ends = []
    for callbacks in ([], [StepLogger()]):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(4),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.5, seed=1),
                keras.layers.Dense(1),
            ]
        )
        model.compile(Adam(0.1), "mse", metrics=["mae"])
        history = train(model, callbacks).history
        ends.append((history, [v.numpy() for v in model.variables]))
    assert ends[0][0] == ends[1][0]
    for a, b in zip(ends[0][1], ends[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


# Which momentum


@pytest.mark.parametrize(
    ("make", "momentum"),
    [
        (lambda: Adam(0.1, beta_1=0.75), 0.75),
        (lambda: keras.optimizers.Adam(0.1, beta_1=0.75), 0.75),
        (lambda: SGD(0.1, momentum=0.5), 0.5),
        (lambda: SGD(0.1), 0.0),
        (lambda: AdaGrad(0.1), np.nan),
        (lambda: keras.optimizers.Adagrad(0.1), np.nan),
    ],
)
def test_the_momentum_is_beta_1_where_the_optimizer_has_that(make, momentum):
    model, log = linear(), StepLogger()
    model.compile(make(), "mse")
    train(model, [log], epochs=1)
    np.testing.assert_array_equal(log.momenta, np.full(BATCHES, momentum))
    np.testing.assert_allclose(log.learning_rates, 0.1, rtol=1e-6)


def test_a_rate_that_is_set_while_fit_runs():
    class Halve(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            optimizer = self.model.optimizer
            optimizer.learning_rate = float(optimizer.learning_rate) / 2
            optimizer.momentum = float(optimizer.momentum) / 2

    model, log = linear(), StepLogger()
    model.compile(Momentum(0.1, 0.5), "mse")
    train(model, [Halve(), log], epochs=1)
    halves = 0.5 ** np.arange(BATCHES)
    rates, momenta = 0.1 * halves, 0.5 * halves
    losses = losses_of(batches(*data(), epochs=1), rates, momenta)
    assert_logged(log, rates, momenta, losses)


# One `fit` after another


@pytest.mark.parametrize("mode", ["default", "blocks"])
def test_another_fit_adds_to_the_record(mode):
    model, log = linear(), StepLogger()
    model.compile(Momentum(RATE, BETA), "mse", **MODES[mode])
    train(model, [log], epochs=1)
    assert len(log.steps) == BATCHES
    train(model, [log], epochs=2)
    assert_logged(log, *truth())


def test_a_fit_without_it_adds_nothing():
    model, log = linear(), StepLogger()
    model.compile(Momentum(RATE, BETA), "mse")
    train(model, [], epochs=1)
    train(model, [log], epochs=1)
    train(model, [], epochs=1)
    rates, momenta, losses = (a[BATCHES : 2 * BATCHES] for a in truth())
    assert_logged(log, rates, momenta, losses)


def test_the_record_is_up_to_date_at_each_epochs_end_and_within():
    model, log = linear(), StepLogger()
    model.compile(Momentum(RATE, BETA), "mse")
    seen = []
    read = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(len(log.steps)),
        on_epoch_end=lambda epoch, logs: seen.append(len(log.losses)),
    )
    train(model, [log, read], epochs=2)
    assert seen == [1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 14]
    assert_logged(log, *truth(14))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("mode", ["default", "blocks"])
def test_after_an_error_the_steps_before_it_are_there_and_the_next_fit_adds(
    error, mode
):
    model, log = linear(), StepLogger()
    model.compile(Momentum(RATE, BETA), "mse", **MODES[mode])
    calls = {"default": 6, "blocks": 2}[mode]
    with contextlib.suppress(ValueError, KeyboardInterrupt):
        train(model, [log, Raise(error, step=calls - 1)], epochs=1)
    assert_logged(log, *truth(6))
    train(model, [log], epochs=1)
    rates, momenta = RATE.values(range(13)), BETA.values(range(13))
    first = list(batches(*data(), epochs=1))
    losses = losses_of([*first[:6], *first], rates, momenta)
    assert_logged(log, rates, momenta, losses)


def test_two_loggers_record_the_same():
    model, logs = linear(), [StepLogger(), StepLogger()]
    model.compile(Momentum(RATE, BETA), "mse", steps_per_execution=3)
    train(model, logs)
    for log in logs:
        assert_logged(log, *truth())


def test_data_of_unknown_length_adds_no_rows():
    """The end of such data comes as an error within the step."""
    dataset = tf.data.Dataset.from_tensor_slices(data()).batch(BATCH)
    dataset = dataset.filter(lambda x, y: True)
    model, log = linear(), StepLogger()
    model.compile(SGD(0.05, momentum=0.5), "mse", steps_per_execution=3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*ran out of data")
        model.fit(dataset, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[log])
    rates, momenta = np.full(STEPS, 0.05), np.full(STEPS, 0.5)
    assert_logged(log, rates, momenta, losses_of(batches(*data()), rates, momenta))


@pytest.mark.parametrize("block", [1, 7, 256, 300, 700])
def test_nothing_is_lost_in_a_long_epoch(block):
    """The loss of step t is t, and so is its rate."""
    x = np.arange(700, dtype="float32")[:, None]
    model, log = keras.Sequential([keras.Input((1,))]), StepLogger()
    model.add(keras.layers.Dense(1, use_bias=False, kernel_initializer="ones"))

    class Count(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return tf.cast(step, "float32") * 1e-30

    model.compile(
        keras.optimizers.SGD(Count()),
        lambda y, y_hat: y_hat,
        steps_per_execution=block,
    )
    model.fit(x, x, batch_size=1, shuffle=False, verbose=0, callbacks=[log])
    np.testing.assert_array_equal(log.steps, np.arange(700))
    np.testing.assert_array_equal(log.losses, x[:, 0])
    np.testing.assert_allclose(log.learning_rates, np.arange(700) * 1e-30, rtol=1e-6)


# Before and after


def test_before_the_first_fit_there_is_nothing():
    log = StepLogger()
    for values in (log.steps, log.learning_rates, log.momenta, log.losses):
        assert values.shape == (0,)
    with pytest.raises(ValueError, match="fit"):
        log.plot()


def test_plot_shows_what_was_recorded():
    figure_module = pytest.importorskip("matplotlib.figure")
    model, log = linear(), StepLogger()
    model.compile(Momentum(RATE, BETA), "mse")
    train(model, [log])
    figure = log.plot()
    assert isinstance(figure, figure_module.Figure)
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    for values in (log.losses, log.learning_rates, log.momenta):
        assert any(
            len(line.get_ydata()) == STEPS
            and np.array_equal(line.get_ydata(), values)
            and np.array_equal(line.get_xdata(), log.steps)
            for line in lines
        )


def test_plot_without_a_momentum():
    pytest.importorskip("matplotlib")
    model, log = linear(), StepLogger()
    model.compile(AdaGrad(0.1), "mse")
    train(model, [log], epochs=1)
    log.plot()


def test_missing_matplotlib_is_named_with_its_extra(monkeypatch):
    model, log = linear(), StepLogger()
    model.compile(SGD(0.1), "mse")
    train(model, [log], epochs=1)
    for name in [m for m in sys.modules if m.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"keras_dnn\[plot\]"):
        log.plot()
