"""The signal of a layer against NumPy, and slopes against automatic differentiation."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.diagnostics._flatness import slope_at
from keras_dnn.diagnostics.layer_signal import has_kernel, norm_of, signal_of

layers = keras.layers

# The steepest slope of each activation.
ACTIVATIONS = {
    "sigmoid": 1 / 4,
    "tanh": 1.0,
    "softsign": 1.0,
    "elu": 1.0,
    "selu": 1.0507009873554805 * 1.6732632423543772,
    "hard_sigmoid": 1 / 6,
    "relu6": 1.0,
}


@pytest.mark.parametrize(("name", "steepest"), ACTIVATIONS.items())
def test_slopes_are_those_of_the_activation(name, steepest):
    dense = layers.Dense(1, name)
    z = tf.constant(np.linspace(-4.1, 6.9, 23), "float64")
    with tf.GradientTape() as tape:
        tape.watch(z)
        y = dense.activation(z)
    slopes = tape.gradient(y, z).numpy()
    shown = slope_at(dense)(y).numpy()
    if name == "relu6":
        # Zeros count as dead, not as saturated.
        slopes, shown = slopes[z.numpy() > 0], shown[z.numpy() > 0]
    if name == "selu":
        # Its positive side is never flat.
        slopes, shown = slopes[z.numpy() < 0], shown[z.numpy() < 0]
    np.testing.assert_allclose(shown, slopes / steepest, atol=1e-6)


def test_a_unit_is_saturated_on_three_examples_of_four():
    dense = layers.Dense(4, "tanh")
    edge = math.sqrt(0.95)  # Where 5 % of the slope is left.
    y = np.full((12, 4), edge + 1e-3)
    y[:3, 1] = y[:4, 2] = 0.0
    y[:, 3] = edge - 1e-3
    signal = signal_of(dense, tf.constant(y, tf.float32), None, is_output=False)
    assert signal.saturated == 0.5
    np.testing.assert_allclose(
        [signal.std, signal.rms],
        [np.sqrt(y.var(axis=0).mean()), np.sqrt(np.square(y).mean())],
        rtol=1e-6,
    )


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_dead_channel_counts_in_either_data_format(data_format):
    """One of three channels is zero; over axis 1 no unit would be."""
    y = np.random.default_rng(0).uniform(0.5, 1.0, size=(4, 3, 5, 5))
    y[:, 1] = 0.0
    if data_format == "channels_last":
        y = np.moveaxis(y, 1, -1)
    conv = layers.Conv2D(3, 1, activation="relu", data_format=data_format)
    signal = signal_of(conv, tf.constant(y, tf.float32), None, is_output=False)
    assert signal.dead == pytest.approx(1 / 3)


def test_the_norm_of_a_sparse_gradient():
    sparse = tf.IndexedSlices(tf.constant([[3.0], [4.0]]), tf.constant([0, 1]))
    assert norm_of(sparse) == norm_of(tf.constant([3.0, 4.0])) == 5.0


def test_repeated_rows_of_a_sparse_gradient_are_summed():
    rows = tf.constant([[3.0, 1.0], [1.0, 2.0], [2.0, 1.0]])
    sparse = tf.IndexedSlices(rows, tf.constant([7, 2, 7]), dense_shape=(9, 2))
    assert norm_of(sparse) == pytest.approx(np.linalg.norm([5, 2, 1, 2]), rel=1e-15)


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (lambda: layers.Dense(2), (3,), True),
        (lambda: layers.LSTM(2), (4, 3), True),
        (lambda: layers.Embedding(5, 2), (4,), False),
        (layers.BatchNormalization, (3,), False),
        (layers.ReLU, (3,), False),
    ],
)
def test_which_layers_have_a_kernel(make, shape, expected):
    layer = make()
    layer.build((None, *shape))
    assert has_kernel(layer) is expected
