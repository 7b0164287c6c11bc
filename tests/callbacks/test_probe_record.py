"""The record of a probe: which rows it has, and what is in them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import Probe
from keras_dnn.optimizers import Nesterov
from tests.callbacks.harness import fit, interrupted, leftovers, network, regression


def data(samples=24):
    return regression(samples)


def compiled(optimizer, **options):
    model = network()
    model.compile(optimizer, "mse", **options)
    return model


def nesterov(**options):
    return Nesterov(0.1, 0.9, **options)


class Numbers(Probe):
    """Puts the numbers of the updates into its record."""

    width, every = 3, 1

    def create(self, variables):
        self.record = self.add_record(self.width, every=self.every)

    def after_update(self, step):
        number = tf.cast(step.number, "float64")
        self.record.put(step, [10 * number + 2], [2])
        self.record.put(step, [10 * number], [0])


def test_what_no_hook_has_put_is_nan():
    probe = Numbers()
    fit(compiled(nesterov()), data(), probe)
    expected = [[10 * i, np.nan, 10 * i + 2] for i in range(6)]
    np.testing.assert_array_equal(probe.record.values, expected)


@pytest.mark.parametrize("accumulate", [None, 2])
def test_every_counts_updates(accumulate):
    probe = Numbers()
    probe.every = 2
    optimizer = nesterov(gradient_accumulation_steps=accumulate)
    fit(compiled(optimizer), data(), probe, epochs=2)
    expected = np.arange(0, 6 if accumulate else 12, 2)
    np.testing.assert_array_equal(probe.record.steps, expected)
    np.testing.assert_array_equal(probe.record.values[:, 0], 10.0 * expected)


def test_fit_again_adds_rows_and_another_optimizer_starts_again():
    probe, model = Numbers(), compiled(nesterov())
    fit(model, data(), probe)
    first = probe.record
    fit(model, data(), probe)
    assert probe.record is first
    np.testing.assert_array_equal(first.steps, np.arange(12))
    model.compile(nesterov(), "mse")
    fit(model, data(), probe)
    assert probe.record is not first
    np.testing.assert_array_equal(probe.record.steps, np.arange(6))
    np.testing.assert_array_equal(first.steps, np.arange(12))


def test_after_an_error_the_rows_before_it_are_there():
    probe, model = Numbers(), compiled(nesterov())
    interrupted(model, data(), [probe], step=3)
    np.testing.assert_array_equal(probe.record.steps, np.arange(4))
    assert leftovers(model) == []
    fit(model, data(), probe)
    np.testing.assert_array_equal(probe.record.steps, np.arange(10))


def test_the_record_can_be_read_while_fit_runs():
    probe, seen = Numbers(), []
    read = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(len(probe.record.steps))
    )
    fit(compiled(nesterov()), data(), [probe, read])
    assert seen == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("block", [1, 300])
def test_a_long_epoch_loses_no_rows(block):
    probe = Numbers()
    model = compiled(nesterov(), steps_per_execution=block)
    fit(model, data(700), probe, batch_size=1)
    np.testing.assert_array_equal(probe.record.steps, np.arange(700))


def test_rows_that_are_lost_are_reported():
    class Forgetful(Numbers):
        def on_train_batch_end(self, batch, logs=None):
            pass

    probe = Forgetful()
    with pytest.warns(UserWarning, match=r"300 rows .*super\(\)\.on_train_batch_end"):
        fit(compiled(nesterov()), data(557), probe, batch_size=1)


def test_as_many_values_as_places():
    class Wrong(Numbers):
        def after_update(self, step):
            self.record.put(step, [1.0, 2.0])

    with pytest.raises(ValueError, match=r"each of 3 places. Received: .*\(2,\)"):
        fit(compiled(nesterov()), data(), Wrong())


@pytest.mark.parametrize("name", ["width", "every"])
@pytest.mark.parametrize("value", [0, 1.5, "2"])
def test_width_and_every_must_be_positive_integers(name, value):
    probe = Numbers()
    setattr(probe, name, value)
    with pytest.raises(ValueError, match=f"{name} must be.*Received: {name}="):
        fit(compiled(nesterov()), data(), probe)
