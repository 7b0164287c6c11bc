"""`PerformanceScheduler`: the rate of each step, in every way of training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn._keras.multi_optimizer import multi_optimizer
from keras_dnn.callbacks import PerformanceScheduler
from keras_dnn.optimizers import SGD, Momentum
from keras_dnn.optimizers.schedules import CosineDecay, PowerDecay
from tests.callbacks.harness import (
    MODES,
    Report,
    Tape,
    assert_identical,
    fit,
    interrupted,
    mean_output,
    moved,
    tape_data,
    tape_model,
)

# With a patience of 1, the rate falls after the third and after the fourth epoch.
VALUES = [1.0, 0.75, 0.75, 0.875, 0.5, 0.25]
FACTORS = np.repeat([1, 1, 1, 0.5, 0.25, 0.25], 2)
COSINE = CosineDecay(1.0, decay_steps=16, alpha=0.1)
DATA, VALIDATION = tape_data(2), tape_data(1)


def falling(optimizer, dtype="float32", **options):
    """Its validation loss takes `VALUES` after epochs of two batches."""
    return tape_model(optimizer, VALUES, 2, dtype=dtype, **options)


def level(optimizer, epochs=20):
    """Its validation loss never improves."""
    return tape_model(optimizer, [1.0] * epochs, 2)


def fit_validated(model, callbacks, epochs):
    return fit(model, DATA, callbacks, epochs=epochs, validation_data=VALIDATION)


def assert_rates(model, expected, rtol=1e-5):
    np.testing.assert_allclose(-moved(model), expected, rtol=rtol)


def assert_falls(model, schedule=None):
    plateau = PerformanceScheduler(patience=1)
    history = fit_validated(model, plateau, epochs=6)
    own = np.ones(12) if schedule is None else schedule.values(range(12))
    assert_rates(model, own * FACTORS)
    assert (plateau.best, plateau.wait, plateau.reductions) == (0.25, 0, 2)
    np.testing.assert_allclose(history.history["val_loss"], VALUES, rtol=1e-6)
    return history


@pytest.mark.parametrize(
    ("make", "mode"),
    [
        *((SGD, mode) for mode in ("default", "jit", "blocks", "eager")),
        (keras.optimizers.SGD, "jit"),
    ],
)
def test_a_schedule_is_scaled_in_the_compiled_step(make, mode):
    model = falling(make(COSINE), **MODES[mode])
    assert_falls(model, COSINE)
    scaled = model.optimizer.get_config()["learning_rate"]
    assert scaled["class_name"] == "Scaled"
    assert scaled["config"]["factor"] == 0.25


@pytest.mark.parametrize(
    ("make", "mode"), [(SGD, "blocks"), (keras.optimizers.SGD, "jit")]
)
def test_a_float_is_reduced(make, mode):
    model = falling(make(1.0), **MODES[mode])
    history = assert_falls(model)
    assert float(model.optimizer.learning_rate) == 0.25
    np.testing.assert_allclose(history.history["learning_rate"], FACTORS[::2])


def test_a_model_fitted_before_has_its_schedule_scaled_too():
    model = level(SGD(COSINE))
    fit(model, DATA)
    fit_validated(model, PerformanceScheduler(patience=2), epochs=4)
    # The rate stays reduced without the callback, and falls again with it.
    fit(model, DATA)
    fit_validated(model, PerformanceScheduler(patience=1), epochs=3)
    factors = np.repeat([1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25], 2)
    assert_rates(model, COSINE.values(range(18)) * factors)


def test_after_an_error_the_rate_stays_reduced_and_can_fall_again():
    model = level(SGD(COSINE))
    plateau = PerformanceScheduler(patience=2)
    options = {"epochs": 8, "validation_data": VALIDATION}
    interrupted(model, DATA, [plateau], error=KeyboardInterrupt, epoch=3, **options)
    fit(model, DATA)
    fit_validated(model, plateau, epochs=4)
    factors = np.repeat([1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25], 2)
    assert_rates(model, COSINE.values(range(18)) * factors)


def test_a_schedule_that_was_never_scaled_is_left_as_it_was():
    model = falling(SGD(COSINE))
    before = model.optimizer.get_config()
    fit_validated(model, PerformanceScheduler(), epochs=6)
    assert model.optimizer.get_config() == before
    assert_rates(model, COSINE.values(range(12)), rtol=1e-6)


def test_on_two_replicas(two_replicas):
    with two_replicas.scope():
        model = falling(SGD(COSINE))
    assert_falls(model, COSINE)


def test_under_a_loss_scale_in_float16():
    inner = SGD(COSINE)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=256.0)
    assert_falls(falling(optimizer, "mixed_float16"), COSINE)


def test_in_accumulation_all_micro_batches_of_an_update_have_its_rate():
    model = falling(SGD(COSINE, gradient_accumulation_steps=2))
    fit_validated(model, PerformanceScheduler(patience=1), epochs=6)
    assert_rates(model, np.repeat(COSINE.values(range(6)) * FACTORS[::2], 2) / 2)


def test_the_minimum_holds_under_a_schedule():
    slow = PowerDecay(1.0, decay_steps=1000)
    model = level(SGD(slow), epochs=6)
    plateau = PerformanceScheduler(patience=1, factor=0.3, min_learning_rate=0.2)
    fit_validated(model, plateau, epochs=6)
    rates = -moved(model)[::2]
    np.testing.assert_allclose(rates[[0, 2]], [1, 0.3], rtol=0.01)
    np.testing.assert_allclose(rates[3:], 0.2, rtol=0.01)


def test_all_optimizers_of_a_multi_optimizer_are_reduced():
    first, second = SGD(1.0), Momentum(COSINE, 0.0)
    x = keras.Input((1,))
    tape = Tape()
    both = keras.layers.Add()([keras.layers.Dense(1)(x), tape(x)])
    model = keras.Model(x, both)
    model.compile(multi_optimizer(first, {".*row": second}), mean_output)
    plateau = PerformanceScheduler(patience=1)
    fit(model, DATA, [Report("val_loss", [1] * 4), plateau], epochs=4)
    factors = np.repeat([1, 1, 0.5, 0.25], 2)
    expected = COSINE.values(range(8)) * factors
    np.testing.assert_allclose(-tape.row.numpy()[:8], expected, rtol=1e-5)
    assert float(first.learning_rate) == 0.125


# Evaluation in the middle of an epoch


@pytest.mark.parametrize(
    ("every", "batches", "options", "evaluations"),
    [
        (2, 6, {}, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24]),
        (6, 6, {}, [6, 12, 18, 24]),
        (8, 6, {}, [8, 16, 24]),
        (1, 3, {}, list(range(1, 13))),
        (6, 6, {"steps_per_execution": 3}, [6, 12, 18, 24]),
        # The last block of an epoch has two batches; the evaluation comes at its end.
        (8, 6, {"steps_per_execution": 4}, [10, 16, 24]),
    ],
)
def test_evaluation_after_every_few_batches(every, batches, options, evaluations):
    model = tape_model(SGD(COSINE), [1.0], **options)
    plateau = PerformanceScheduler(
        every=every, validation_data=VALIDATION, patience=2, factor=0.75
    )
    fit(model, tape_data(batches), plateau, epochs=4)
    total = 4 * batches
    falls = evaluations[2::2]
    powers = [sum(step >= fall for fall in falls) for step in range(total)]
    assert_rates(model, COSINE.values(range(total)) * 0.75 ** np.array(powers))
    assert plateau.reductions == len(falls)


def test_evaluation_leaves_metrics_weights_and_random_states_as_they_are():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(24, 3)), rng.normal(size=(24, 1))
    held_out = data[0][:8] + 5, data[1][:8] - 9
    batches = tf.data.Dataset.from_tensor_slices(held_out).batch(4)
    plateau = PerformanceScheduler(every=2, validation_data=batches, patience=99)
    found = []
    for callbacks in ([], [plateau]):
        keras.utils.set_random_seed(3)
        layers = keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=1)
        model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])
        metrics = ["mae", keras.metrics.R2Score()]
        model.compile(keras.optimizers.Adam(0.1), "mse", metrics=metrics)
        history = fit(model, data, callbacks, epochs=2, validation_data=data).history
        history.pop("learning_rate", None)
        found.append((history, model.get_weights()))
    assert_identical(*found)
    mae = found[0][0]["mae"]
    assert mae[1] != mae[0]
    assert not np.isnan(plateau.best)


class HeldOut(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return np.full((2, 1), 1.0 + index), np.zeros((2, 1)), np.full(2, index)


@pytest.mark.parametrize(
    ("held_out", "best"),
    [
        ((np.array([[1.0], [2.0]]), np.zeros((2, 1))), 2.5),
        ((np.array([[1.0], [2.0]]), np.zeros((2, 1)), np.array([0.0, 1.0])), 2.0),
        (HeldOut(), 2.0),
    ],
    ids=["x, y", "with weights", "PyDataset"],
)
def test_every_kind_of_validation_data(held_out, best):
    """Squares of 1 and 4, of which the weights drop the first."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    plateau = PerformanceScheduler(every=2, validation_data=held_out, patience=1)
    fit(model, DATA, plateau, epochs=2)
    assert plateau.best == pytest.approx(best)
    assert plateau.reductions == 1
