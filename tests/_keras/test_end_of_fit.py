"""What a callback changed is put back when `fit` is left, however that happens.

All exceptions here keep the frames of `fit` alive, as a notebook does: nothing that
waits for the garbage collector would happen.
"""

import inspect
import os
import signal

import keras
import numpy as np
import pytest

from keras_dnn._keras.end_of_fit import when_fit_ends
from keras_dnn.callbacks import (
    Doctor,
    GradientNorms,
    MaxNorm,
    OneCycleScheduler,
    PerformanceScheduler,
)
from keras_dnn.optimizers import Nesterov
from keras_dnn.optimizers.schedules import PowerDecay
from tests.callbacks.harness import leftovers

X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
Y = X.sum(axis=1)


class Interrupt(keras.callbacks.Callback):
    """Presses Ctrl-C where it is told to."""

    def __init__(self, where):
        super().__init__()
        setattr(self, where, self._interrupt)

    def _interrupt(self, *args, **kwargs):
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def model():
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    made.compile(Nesterov(0.01), "mse")
    return made


def fit(model, callbacks, **options):
    return model.fit(X, Y, batch_size=8, verbose=0, callbacks=callbacks, **options)


@pytest.mark.parametrize(
    "where",
    [
        "on_train_begin",
        "on_train_batch_end",
        "on_test_batch_end",
        "on_epoch_end",
        "on_train_end",
    ],
)
def test_an_interrupted_fit_leaves_nothing_behind(model, where):
    callbacks = [OneCycleScheduler(0.5), MaxNorm(0.01), GradientNorms()]
    with pytest.raises(KeyboardInterrupt):
        fit(model, [*callbacks, Interrupt(where)], validation_data=(X, Y))
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    assert float(model.optimizer.momentum) == pytest.approx(0.9)
    assert not leftovers(model)
    assert model.layers[0].kernel.constraint is None


def test_an_interrupted_fit_leaves_the_schedule():
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    schedule = PowerDecay(0.1, 10)
    made.compile(Nesterov(schedule), "mse")
    callbacks = [PerformanceScheduler("loss"), Interrupt("on_train_batch_end")]
    with pytest.raises(KeyboardInterrupt):
        fit(made, callbacks)
    assert made.optimizer._learning_rate is schedule


def test_what_is_left_is_undone_from_the_last_to_the_first(model):
    undone = []

    class Register(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            assert when_fit_ends(self.model, lambda: undone.append("first"))
            assert when_fit_ends(self.model, lambda: undone.append("last"))
            assert not when_fit_ends(keras.Sequential(), undone.clear)

    fit(model, [Register()])
    assert undone == ["last", "first"]
    assert not when_fit_ends(model, undone.clear)


def test_a_fit_within_a_fit_ends_alone(model):
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    inner.compile("sgd", "mse")
    undone = []

    class Register(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            assert when_fit_ends(self.model, lambda: undone.append(self.model))

    class Nested(Register):
        def on_epoch_end(self, epoch, logs=None):
            fit(inner, [Register()])
            assert undone == [inner]

    fit(model, [Nested()])
    assert undone == [inner, model]


def test_an_error_of_one_does_not_keep_the_others_from_being_undone(model):
    undone = []

    class Register(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            when_fit_ends(self.model, lambda: undone.append("first"))
            when_fit_ends(self.model, lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        fit(model, [Register()])
    assert undone == ["first"]


def test_ctrl_c_pressed_again_waits_until_all_is_put_back(model):
    undone = []

    def press():
        os.kill(os.getpid(), signal.SIGINT)
        undone.append("pressed")

    class Register(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            when_fit_ends(self.model, lambda: undone.append("first"))
            when_fit_ends(self.model, press)
            when_fit_ends(self.model, press)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(model, [Register(), Interrupt("on_train_batch_end")])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    assert undone == ["pressed", "pressed", "first"]


def test_a_callback_given_twice_is_refused(model):
    norms = GradientNorms()
    with pytest.raises(ValueError, match="callbacks must hold each callback once"):
        fit(model, [norms, norms])
    assert not leftovers(model)
    doctor = Doctor()
    with pytest.raises(ValueError, match="the same Doctor 2 times"):
        fit(model, [doctor, doctor])


def test_keras_describes_fit_as_before():
    assert keras.Model.fit.__name__ == "fit"
    assert "validation_freq" in inspect.signature(keras.Model.fit).parameters
