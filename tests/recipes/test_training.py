"""Optimizer, schedule and stopping: which they are and what they do in `fit`."""

import json

import keras
import numpy as np
import pytest

from keras_dnn.callbacks import OneCycleScheduler, PerformanceScheduler, StepLogger
from keras_dnn.recipes import deep_network, training
from keras_dnn.tuning import find_learning_rate
from tests.keras_versions import needs_keras

LOSS = "sparse_categorical_crossentropy"
generator = np.random.default_rng(5)
x = generator.normal(size=(512, 6)).astype("float32")
y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


def network(**options):
    return deep_network([16, 16], n_classes=3, data=x, **options)


def test_one_cycle_with_opposite_momentum():
    t = training(network(), max_learning_rate=0.04)
    assert type(t.optimizer).__name__ == "Nesterov"
    assert float(t.optimizer.learning_rate) == pytest.approx(0.004)
    cycle, stopping = t.callbacks
    assert isinstance(cycle, OneCycleScheduler)
    assert stopping.restore_best_weights
    assert t.learning_rate == 0.04
    assert t.range_test is None


@pytest.mark.quick
def test_settings_work_in_compile_and_fit():
    model = network()
    t = training(model, max_learning_rate=0.04)
    model.compile(optimizer=t.optimizer, loss=LOSS, metrics=["accuracy"])
    log = StepLogger()
    history = model.fit(
        x,
        y,
        epochs=6,
        validation_data=(x, y),
        callbacks=[*t.callbacks, log],
        verbose=0,
    ).history
    assert log.learning_rates.max() == pytest.approx(0.04)
    assert log.learning_rates[0] == pytest.approx(0.004)
    assert log.momenta.min() == pytest.approx(0.85)
    assert t.callbacks[0].coverage == 1.0
    assert history["val_accuracy"][-1] > 0.9
    # Another `fit` has another cycle.
    model.fit(x, y, epochs=2, validation_data=(x, y), callbacks=t.callbacks, verbose=0)
    assert t.callbacks[0].coverage == 1.0


class Scripted(keras.callbacks.Callback):
    """Sets the validation loss."""

    def __init__(self, losses):
        super().__init__()
        self.losses, self.weights = losses, []

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.losses[epoch]
        self.weights.append(self.model.get_weights())


def test_one_cycle_is_completed_and_restores_the_best_weights():
    model = network()
    t = training(model, max_learning_rate=0.04, patience=2)
    model.compile(optimizer=t.optimizer, loss=LOSS)
    script = Scripted([3.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    model.fit(x, y, epochs=8, callbacks=[script, *t.callbacks], verbose=0)
    assert len(script.weights) == 8
    for found, best in zip(model.get_weights(), script.weights[1], strict=True):
        np.testing.assert_array_equal(found, best)


def test_performance_halves_the_rate_and_ends():
    model = network()
    t = training(model, max_learning_rate=0.04, schedule="performance", patience=6)
    scheduler, _ = t.callbacks
    assert isinstance(scheduler, PerformanceScheduler)
    assert float(t.optimizer.learning_rate) == pytest.approx(0.04)
    model.compile(optimizer=t.optimizer, loss=LOSS)
    script = Scripted([1.0] * 20)
    log = StepLogger()
    model.fit(x, y, epochs=20, callbacks=[script, *t.callbacks, log], verbose=0)
    # One epoch improves, six do not; after every two of these the rate halves.
    assert len(script.weights) == 7
    rates = log.learning_rates[::16]
    assert rates == pytest.approx(np.array([4, 4, 4, 2, 2, 1, 1]) * 0.01)


def draws(again=True):
    if again:
        keras.utils.set_random_seed(4)
    initial = keras.initializers.HeNormal()((2, 2))
    return np.asarray(initial).tolist(), np.asarray(keras.random.normal((3,))).tolist()


@needs_keras(15, "restart its global generator in set_random_seed")
def test_rate_is_what_a_range_test_advises_for_a_peak_or_a_constant():
    model = network()
    before = model.get_weights()
    expected = draws()
    keras.utils.set_random_seed(4)
    t = training(model, x, y, loss=LOSS, seed=1)
    assert draws(again=False) == expected
    for found, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, old)
    assert not model.compiled
    model.compile(type(t.optimizer)(), LOSS)
    test = find_learning_rate(model, x, y, seed=1, verbose=0)
    assert t.learning_rate == pytest.approx(test.max_learning_rate, rel=1e-6)
    assert f"{t.learning_rate:.3g}" in t.reasons["learning rate"]
    flat = training(model, x, y, loss=LOSS, seed=1, schedule="performance")
    assert flat.learning_rate == pytest.approx(test.suggestion, rel=1e-6)


def test_after_a_flat_range_test_the_rate_is_the_default():
    model = network()
    t = training(model, x, generator.permutation(y), loss=lambda y, p: 0.0 * p[:, 0])
    assert t.learning_rate == training(model).learning_rate
    assert "suggests none" in t.reasons["learning rate"]
    assert t.range_test.suggestion is None


@pytest.mark.parametrize("name", ["nesterov", "nadam", "rmsprop", "adamw"])
def test_every_optimizer_of_the_table_learns(name):
    model = network()
    t = training(model, optimizer=name, monitor=None)
    assert len(t.callbacks) == 1
    assert "early stopping" not in t.reasons
    model.compile(t.optimizer, LOSS, metrics=["accuracy"])
    model.fit(x, y, batch_size=8, epochs=6, callbacks=t.callbacks, verbose=0)
    assert model.evaluate(x, y, verbose=0)[1] > 0.75
    assert type(t.optimizer).__name__ in t.reasons["optimizer"]


def test_text_gives_reasons_and_dict_is_ready_for_json():
    t = training(network(), x, y, loss=LOSS, seed=1)
    assert [line.split("  ")[0] for line in str(t).splitlines()] == list(t.reasons)
    found = json.loads(json.dumps(t.to_dict()))
    assert found["callbacks"] == ["OneCycleScheduler", "EarlyStopping"]
    assert found["optimizer"]["class_name"] == "Nesterov"
    assert found["range_test"]["suggestion"]
    assert training(network()).to_dict()["range_test"] is None


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"optimizer": "sgd"}, "optimizer must be 'nesterov' or"),
        ({"schedule": "cosine"}, "schedule must be '1-cycle' or"),
        ({"patience": 1}, "patience must be an integer of at least 2"),
        ({"max_learning_rate": 0.0}, "max_learning_rate must be a number in"),
        ({"schedule": "performance", "monitor": None}, "monitor must be given"),
        ({"x": x, "y": y}, "loss must be given with x"),
        ({"x": x, "y": y, "loss": LOSS, "max_learning_rate": 0.1}, "must be None"),
    ],
)
def test_bad_arguments_are_refused(options, word):
    with pytest.raises(ValueError, match=word):
        training(network(), **options)


class Twice(keras.layers.Layer):
    """Not registered, as in most notebooks."""

    def call(self, inputs):
        return 2 * inputs


class OwnLoss(keras.Model):
    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs) * 0.0 + 7.0


def models_that_are_hard_to_copy():
    layers, inputs = keras.layers, keras.Input((6,))
    head = layers.Dense(3, "softmax")
    inner = keras.Sequential([inputs, layers.Dense(8, "relu"), Twice()])
    double = layers.Lambda(lambda t: 2 * t)
    return {
        "lambda": keras.Sequential([inputs, double, head]),
        "nested": keras.Sequential([inputs, inner, layers.Dense(3, "softmax")]),
        "own loss": OwnLoss(inputs, layers.Dense(3, "softmax")(inputs)),
    }


@pytest.mark.parametrize("name", ["lambda", "nested", "own loss"])
def test_a_range_test_runs_on_a_copy_of_any_model(name):
    model = models_that_are_hard_to_copy()[name]
    before = model.get_weights()
    found = training(model, x, y, loss=LOSS, batch_size=64, seed=0).range_test
    assert (np.asarray(found.losses) == 7.0).all() == (name == "own loss")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
