"""Callbacks that steer the optimizer which a step of the user's own applies."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn import optimizers as ours
from keras_dnn._keras.multi_optimizer import multi_optimizer
from keras_dnn.callbacks import (
    GradientNorms,
    OneCycleScheduler,
    PerformanceScheduler,
    StepLogger,
)
from keras_dnn.optimizers.schedules import ExponentialDecay, OneCycle, Scaled
from keras_dnn.tuning import find_learning_rate
from tests.callbacks.own_steps import Hiding, Single, data, fit, pair, single

STEPS = 6  # Of two epochs.


class Twice(Single):
    """Updates twice for each batch."""

    def train_step(self, x):
        super().train_step(x)
        return super().train_step(x)


# One cycle ----------------------------------------------------------------------------


def test_the_cycle_drives_the_optimizer_that_is_applied():
    model = single(ours.Nesterov(0.01))
    cycle, log = OneCycleScheduler(0.1), StepLogger()
    fit(model, cycle, log, epochs=2)
    expected = OneCycle(0.1, STEPS)
    np.testing.assert_allclose(
        log.learning_rates, expected.values(range(STEPS)), rtol=1e-6
    )
    np.testing.assert_allclose(
        log.momenta, expected.momentum().values(range(STEPS)), rtol=1e-6
    )
    assert cycle.coverage == 1
    assert float(model.own.learning_rate) == pytest.approx(0.01)


def test_a_cycle_of_several_updates_for_each_batch_needs_its_length():
    with pytest.raises(ValueError, match=r"total_steps must be given .* 2 times a"):
        fit(single(ours.Nesterov(0.01), Twice), OneCycleScheduler(0.1))


def test_no_cycle_for_two_optimizers():
    with pytest.raises(ValueError, match="one optimizer, not the 2 of a train_step"):
        fit(pair(ours.SGD), OneCycleScheduler(0.1))


def test_a_cycle_that_nothing_follows_is_not_silent():
    with pytest.warns(UserWarning, match="OneCycleScheduler sees no update"):
        fit(single(keras.optimizers.SGD(0.1), Hiding), OneCycleScheduler(0.1))


# Performance scheduling ---------------------------------------------------------------


def test_the_rate_that_is_reduced_is_that_of_the_optimizer_applied():
    model = single(keras.optimizers.SGD(0.25))
    plateau = PerformanceScheduler("g_loss", patience=1, min_delta=1e9)
    history = fit(model, plateau, epochs=3).history
    assert history["learning_rate"] == [0.25, 0.25, 0.125]
    assert float(model.own.learning_rate) == 0.0625
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)


def test_a_metric_that_is_missing_is_waited_for():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    plateau = PerformanceScheduler("val_loss", patience=1, min_delta=1e9)
    held_out = (data(1), data(1)[:, 0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(
            data(),
            data()[:, 0],
            epochs=6,
            verbose=0,
            callbacks=[plateau],
            validation_data=held_out,
            validation_freq=2,
        )
    (text,) = [str(w.message) for w in caught if "waits for" in str(w.message)]
    assert "'val_loss', which epoch 1 does not report" in text
    assert "'learning_rate', 'loss'" in text
    assert plateau.reductions == 2  # Of three evaluations the first is the best.


# The range test -----------------------------------------------------------------------


def test_the_sweep_sets_the_rate_of_the_optimizer_applied():
    model = single(ours.SGD(0.1))
    before = model.net.get_weights()
    found = find_learning_rate(
        model, data(), steps=20, min_rate=1e-4, max_rate=0.1, seed=0, verbose=0
    )
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 0.1, 20), rtol=1e-4)
    assert np.isfinite(found.losses).all()
    assert found.losses[-1] < found.losses[0]
    for a, b in zip(before, model.net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(model.own.iterations) == 0


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: pair(ours.SGD), "critic_optimizer \\(SGD\\), generator_optimizer"),
        (lambda: single(ours.SGD(0.1), Hiding), "sees no loss: .* inside a tf.funct"),
    ],
)
def test_a_step_that_no_sweep_can_read_is_refused(make, problem):
    with pytest.raises(ValueError, match=problem):
        find_learning_rate(make(), data(), steps=12, seed=0, verbose=0)


# A schedule that comes too late -------------------------------------------------------


def test_a_schedule_set_over_a_rate_that_is_compiled_warns_once():
    optimizer, w = ours.SGD(0.1), keras.Variable(1.0)
    tf.function(lambda: optimizer.apply([tf.constant(1.0)], [w]))()
    schedule = ExponentialDecay(0.1, decay_steps=10)
    with pytest.warns(UserWarning, match="make_train_function"):
        optimizer.learning_rate = schedule
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.learning_rate = schedule
        eager = ours.SGD(0.1)
        eager.apply([tf.constant(1.0)], [keras.Variable(1.0)])
        eager.learning_rate = schedule


class SetSchedule(keras.callbacks.Callback):
    """Sets a schedule of zeros over the learning rate, and compiles again or not."""

    def __init__(self, compile_again=False):
        super().__init__()
        self.compile_again = compile_again

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            zero = ExponentialDecay(0.0, decay_steps=10)
            for optimizer in getattr(
                self.model.optimizer, "optimizers", [self.model.optimizer]
            ):
                optimizer.learning_rate = zero
            if self.compile_again:
                self.model.make_train_function(force=True)


def stale_rates(caught):
    return [str(w.message) for w in caught if "does not use the learning" in str(w)]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("compile_again", [False, True])
def test_probes_report_a_schedule_that_the_compiled_step_of_keras_does_not_use(
    several, compile_again
):
    optimizer = keras.optimizers.SGD(0.1)
    if several:
        optimizer = multi_optimizer(optimizer, {".*bias": keras.optimizers.Adam(0.1)})
    x = np.ones((8, 2), "float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    log = StepLogger()
    callbacks = [log, GradientNorms(), SetSchedule(compile_again)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, x[:, 0], epochs=3, verbose=0, callbacks=callbacks)
    np.testing.assert_allclose(
        log.learning_rates, [0.1, 0, 0] if compile_again else [0.1] * 3, rtol=1e-6
    )
    found = stale_rates(caught)
    names = [] if compile_again else ["SGD", "Adam"][: 1 + several]
    assert len(found) == len(names)
    for text, name in zip(sorted(found, reverse=True), names, strict=True):
        assert f"set on {name} during fit" in text
        assert "model.make_train_function(force=True)" in text


def test_performance_scheduling_uses_a_schedule_that_is_set_over_a_number():
    x = np.ones((8, 2), "float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, x[:, 0], verbose=0)
    # Its factor can be changed already, so nothing has to be put around it.
    model.optimizer.learning_rate = Scaled(
        ExponentialDecay(0.0, decay_steps=10), keras.Variable(1.0)
    )
    before = model.get_weights()
    model.fit(x, x[:, 0], verbose=0, callbacks=[PerformanceScheduler("loss")])
    for weight, was in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, was)
