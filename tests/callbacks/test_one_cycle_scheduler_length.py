"""`OneCycleScheduler`: the length of the cycle, for every kind of data."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import OneCycleScheduler
from keras_dnn.optimizers import SGD, Momentum
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
from tests.callbacks.harness import fit, tape_data, tape_model

DATA = tape_data(BATCHES)


def rows(samples):
    return tape_data(samples, batch_size=1)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        return tape_data(1)


def dataset():
    return tf.data.Dataset.from_tensor_slices(tape_data(BATCHES)).batch(4)


def generator():
    while True:
        yield tape_data(1)


def filtered():
    return dataset().filter(lambda x, y: True)


LENGTHS = {
    "short last batch": (lambda: rows(22), {}, 24),
    "default batch size": (lambda: rows(70), {"batch_size": None}, 12),
    "validation split": (lambda: rows(30), {"validation_split": 0.2}, 24),
    "later start": (lambda: DATA, {"initial_epoch": 1}, 18),
    "tf.data": (dataset, {}, 24),
    "repeated": (lambda: dataset().repeat(), {"steps_per_epoch": 5}, 20),
    "generator": (generator, {"steps_per_epoch": 3}, 12),
    "unknown size": (lambda: filtered().repeat(), {"steps_per_epoch": 5}, 20),
    "PyDataset": (Batches, {}, 24),
    "weights": (lambda: (*DATA, np.ones(24, "float32")), {"batch_size": 3}, 32),
}


@pytest.mark.parametrize("kind", LENGTHS)
def test_the_cycle_is_as_long_as_the_fit(kind):
    make, options, steps = LENGTHS[kind]
    model = tape_model(SGD(0.01, momentum=0.5))
    one_cycle = OneCycleScheduler(TOP)
    fit(model, make(), one_cycle, epochs=4, **options)
    assert one_cycle.schedule.total_steps == steps
    assert one_cycle.coverage == 1.0
    # A short batch weighs no less in the mean.
    assert_moved(model, heavy_ball(rates_of(steps), momenta_of(steps)), 1e-4)


def test_data_of_unknown_size_needs_total_steps():
    optimizer = Momentum(0.01, 0.5)
    model = tape_model(optimizer)
    with pytest.raises(ValueError, match=r"total_steps[\s\S]*Received: "):
        fit(model, filtered(), OneCycleScheduler(TOP), epochs=4)
    assert own_values(optimizer) == (pytest.approx(0.01), 0.5)
    one_cycle = OneCycleScheduler(TOP, total_steps=STEPS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*ran out of data")
        fit(model, filtered(), one_cycle, epochs=4)
    assert one_cycle.schedule.total_steps == STEPS


def test_total_steps_longer_than_the_fit_is_part_of_a_cycle():
    model = tape_model(Momentum(0.01, 0.5))
    one_cycle = OneCycleScheduler(TOP, total_steps=40)
    fit(model, DATA, one_cycle, epochs=EPOCHS)
    assert_moved(model, heavy_ball(rates_of(40)[:24], momenta_of(40)[:24]))
    assert one_cycle.coverage == pytest.approx(24 / 40)
