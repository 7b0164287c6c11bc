"""Units that begin equal, and whether training tells them apart."""

import keras
import numpy as np
import pytest

from keras_dnn.diagnostics import preflight

layers = keras.layers


def names(*body, loss="mse", y=None):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6, 2)).astype("float32")
    y = x[:, :, 0].mean(axis=1, keepdims=True) if y is None else y
    model = keras.Sequential([keras.Input((6, 2)), *body])
    model.compile("sgd", loss)
    checks = preflight(model, x, y, skip=("tiny-batch",), verbose=0)
    return {finding.name for finding in checks.findings}


@pytest.mark.parametrize("kind", [layers.GRU, layers.LSTM, layers.SimpleRNN])
def test_gates_differ_but_units_do_not(kind):
    ones = {"kernel_initializer": "ones", "recurrent_initializer": "ones"}
    last = {"units": 1, "kernel_initializer": "ones"}
    assert "symmetric-weights" in names(kind(4, **ones), layers.Dense(**last))
    # What follows, or the recurrent kernel, tells the units apart.
    assert "symmetric-weights" not in names(kind(4, **ones), layers.Dense(1))
    ones.pop("recurrent_initializer")
    assert "symmetric-weights" not in names(kind(4, **ones), layers.Dense(**last))


def test_a_last_layer_may_begin_at_zero():
    hidden = [layers.Flatten(), layers.Dense(5, "tanh")]
    last = layers.Dense(1, kernel_initializer="zeros")
    assert "symmetric-weights" not in names(*hidden, last)
    hidden[1] = layers.Dense(5, "tanh", kernel_initializer="zeros")
    assert "symmetric-weights" in names(
        *hidden, layers.Dense(1, kernel_initializer="zeros")
    )


def test_probabilities_made_by_hand():
    def ending(function):
        body = [layers.Flatten(), layers.Dense(4, "relu"), layers.Dense(1)]
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        y = np.arange(40).reshape(40, 1) % 2
        return names(*body, layers.Lambda(function), loss=loss, y=y)

    assert "loss-and-activation" in ending(lambda h: 1.0 / (1.0 + keras.ops.exp(-h)))
    assert "loss-and-activation" not in ending(lambda h: 2.0 * h)
