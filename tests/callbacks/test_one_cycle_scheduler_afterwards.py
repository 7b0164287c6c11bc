"""`OneCycleScheduler`: what it leaves behind, whatever ends `fit`."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import OneCycleScheduler
from keras_dnn.optimizers import Momentum
from keras_dnn.optimizers.schedules import CosineDecay
from tests.callbacks.cycle_replay import (
    BATCHES,
    EPOCHS,
    STEPS,
    TOP,
    assert_moved,
    heavy_ball,
    momenta_of,
    own_values,
    rates_of,
)
from tests.callbacks.harness import (
    MODES,
    FailOnNegative,
    PlannedError,
    fit,
    interrupted,
    moved,
    tape_data,
    tape_model,
)

DATA = tape_data(BATCHES)


@pytest.mark.parametrize("mode", ["default", "jit blocks"])
def test_the_next_fit_uses_the_optimizers_own_values(mode):
    optimizer = Momentum(0.125, 0.5)
    model = tape_model(optimizer, **MODES[mode])
    fit(model, DATA, epochs=EPOCHS)
    fit(model, DATA, OneCycleScheduler(TOP), epochs=EPOCHS)
    assert own_values(optimizer) == (0.125, 0.5)
    assert optimizer.get_config() == Momentum(0.125, 0.5).get_config()
    fit(model, DATA, epochs=EPOCHS)
    own = np.full(STEPS, 0.125), np.full(STEPS, 0.5)
    rates = np.concatenate([own[0], rates_of(STEPS), own[0]])
    momenta = np.concatenate([own[1], momenta_of(STEPS), own[1]])
    assert_moved(model, heavy_ball(rates, momenta))


def test_a_schedule_and_a_callable_come_back_at_the_step_that_was_reached():
    schedule = CosineDecay(0.4, decay_steps=100)
    optimizer = Momentum(schedule, lambda: 0.5)
    model = tape_model(optimizer)
    fit(model, DATA, OneCycleScheduler(TOP), epochs=EPOCHS)
    fit(model, DATA, epochs=EPOCHS)
    later = schedule.values(np.arange(STEPS, 2 * STEPS))
    rates = np.concatenate([rates_of(STEPS), later])
    momenta = np.concatenate([momenta_of(STEPS), np.full(STEPS, 0.5)])
    assert_moved(model, heavy_ball(rates, momenta))


def test_a_second_fit_is_a_second_cycle_with_a_length_of_its_own():
    model = tape_model(Momentum(0.125, 0.5))
    one_cycle = OneCycleScheduler(TOP)
    fit(model, DATA, one_cycle, epochs=EPOCHS)
    fit(model, DATA, one_cycle, epochs=2)
    assert one_cycle.schedule.total_steps == 12
    rates = np.concatenate([rates_of(24), rates_of(12)])
    momenta = np.concatenate([momenta_of(24), momenta_of(12)])
    assert_moved(model, heavy_ball(rates, momenta))


@pytest.mark.parametrize(
    ("error", "mode"), [(PlannedError, "default"), (KeyboardInterrupt, "jit")]
)
def test_after_an_error_the_optimizer_has_its_own_values(error, mode):
    optimizer = Momentum(0.125, 0.5)
    model = tape_model(optimizer, **MODES[mode])
    one_cycle = OneCycleScheduler(TOP)
    interrupted(model, DATA, [one_cycle], error=error, step=9, epochs=EPOCHS)
    assert own_values(optimizer) == (0.125, 0.5)
    assert optimizer.get_config() == Momentum(0.125, 0.5).get_config()
    assert one_cycle.coverage == pytest.approx(10 / STEPS)
    fit(model, DATA)
    fit(model, DATA, one_cycle, epochs=2)
    rates = np.concatenate([rates_of(24)[:10], np.full(6, 0.125), rates_of(12)])
    momenta = np.concatenate([momenta_of(24)[:10], np.full(6, 0.5), momenta_of(12)])
    assert_moved(model, heavy_ball(rates, momenta))


def test_the_coverage_stays_what_it_was_when_training_goes_on_without():
    model = tape_model(Momentum(0.125, 0.5))
    one_cycle = OneCycleScheduler(TOP, total_steps=12)
    assert one_cycle.coverage == 0.0
    assert one_cycle.schedule is None
    fit(model, DATA, one_cycle)
    assert one_cycle.coverage == 0.5
    fit(model, DATA)
    assert one_cycle.coverage == 0.5


def test_after_an_error_in_the_graph():
    optimizer = Momentum(0.125, 0.5)
    model = tape_model(optimizer, below=[FailOnNegative()])
    x, y = tape_data(BATCHES)
    x[13] = -1
    with contextlib.suppress(tf.errors.InvalidArgumentError):
        fit(model, (x, y), OneCycleScheduler(TOP))
        raise AssertionError("training was not interrupted")
    assert own_values(optimizer) == (0.125, 0.5)
    made = len(moved(model))
    fit(model, DATA)
    # Weights of earlier steps still move, those of later steps have not moved yet.
    np.testing.assert_allclose(
        moved(model)[made:], heavy_ball(np.full(6, 0.125), np.full(6, 0.5)), rtol=1e-5
    )


def test_training_that_stops_early_says_how_much_of_the_cycle_it_trained(capsys):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    model = tape_model(Momentum(0.01, 0.5))
    one_cycle = OneCycleScheduler(TOP)
    fit(model, DATA, [one_cycle, Stop()], epochs=EPOCHS)
    assert one_cycle.coverage == 0.5
    assert "50" in capsys.readouterr().out
    fit(model, DATA, one_cycle, epochs=EPOCHS)
    assert capsys.readouterr().out == ""


def test_a_model_saved_in_the_middle_and_at_the_end_loads_and_trains(tmp_path):
    model = tape_model(Momentum(0.125, 0.5))
    save = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "{epoch}.weights.h5"), save_weights_only=True
    )
    fit(model, DATA, [OneCycleScheduler(TOP), save], epochs=EPOCHS)
    for path in ("4.weights.h5", "2.weights.h5"):
        twin = tape_model(Momentum(0.125, 0.5))
        twin.optimizer.build(twin.trainable_variables)
        twin.load_weights(tmp_path / path)
        assert own_values(twin.optimizer) == (0.125, 0.5), path
