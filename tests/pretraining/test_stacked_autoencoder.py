"""Greedy pre-training, one layer after another."""

import keras
import numpy as np
import pytest

from keras_dnn.pretraining import stacked_autoencoder
from tests.pretraining.pretraining_cases import (
    convolutional,
    dense,
    normal,
)

layers = keras.layers
RATE, BATCH = 0.2, 4


def by_hand(x, weights):
    """Gradient descent on |tanh(x W + b) V + c - x|², batch after batch."""
    w, b, v, c = (value.copy() for value in weights)
    for batch in x.reshape(-1, BATCH, x.shape[1]):
        h = np.tanh(batch @ w + b)
        error = 2 * (h @ v + c - batch) / batch.size
        below = error @ v.T * (1 - h**2)
        v, c = v - RATE * h.T @ error, c - RATE * error.sum(axis=0)
        w, b = w - RATE * batch.T @ below, b - RATE * below.sum(axis=0)
    return w, b, v, c


@pytest.mark.usefixtures("in_float64")
def test_equals_gradient_descent_in_numpy():
    encoder, x = dense(), normal(12, 6, dtype="float64")
    features = x
    for stage in stacked_autoencoder(encoder):
        variables = stage.trainable_variables
        assert len(variables) == 4
        expected = by_hand(features, [v.numpy() for v in variables])
        stage.compile(keras.optimizers.SGD(RATE), "mse")
        logs = stage.fit(x, batch_size=BATCH, shuffle=False, verbose=0).history
        assert len(logs["loss"]) == 1
        for found, value in zip(stage.trainable_variables, expected, strict=True):
            np.testing.assert_allclose(found.numpy(), value, rtol=1e-11)
        w, b, v, c = expected
        h = np.tanh(features @ w + b)
        loss = stage.evaluate(x, verbose=0)
        assert loss == pytest.approx(np.mean((h @ v + c - features) ** 2), rel=1e-11)
        features = h
    np.testing.assert_allclose(encoder.predict(x, verbose=0), features, rtol=1e-11)


def test_a_stage_trains_its_own_layers_only():
    encoder, x = convolutional(), normal(16, 9, 9, 1)
    own = {1: {"norm"}, 2: set(), 3: {"code"}}
    shapes = {1: (9, 9, 1), 2: (5, 5, 4), 3: (5,)}
    for number, stage in enumerate(stacked_autoencoder(encoder, noise=0.1), 1):
        before = [layer.get_weights() for layer in encoder.layers]
        stage.compile("adam", "mse")
        stage.fit(x, verbose=0)
        changed = {
            i
            for i, (layer, old) in enumerate(zip(encoder.layers, before, strict=True))
            if any(
                (a != b).any() for a, b in zip(layer.get_weights(), old, strict=True)
            )
        }
        names = {encoder.layers[i].name for i in changed}
        convolutions = {
            i for i in changed if isinstance(encoder.layers[i], layers.Conv2D)
        }
        assert names - {encoder.layers[i].name for i in convolutions} == own[number]
        assert convolutions == {1: {0}, 2: {3}, 3: set()}[number]
        assert stage.output_shape[1:] == shapes[number]
    assert number == 3
    assert all(layer.trainable for layer in encoder.layers)


def test_only_the_first_stage_has_the_output_activation():
    found = []
    for stage in stacked_autoencoder(dense(), output_activation="sigmoid"):
        stage.compile("sgd", "mse")
        found.append(stage.layers[-1].layers[-1].activation)
        stage.fit(normal(4, 6), verbose=0)
    assert found == [keras.activations.sigmoid, keras.activations.linear]


def test_a_stage_must_be_trained_before_the_next():
    with pytest.raises(ValueError, match="'stage_1' untrained"):
        list(stacked_autoencoder(dense()))


def test_bad_arguments_are_explained_at_once():
    with pytest.raises(ValueError, match="noise=-1"):
        stacked_autoencoder(dense(), noise=-1)
    with pytest.raises(ValueError, match=r"decoder=.*Rescaling"):
        stacked_autoencoder(
            keras.Sequential([keras.Input((3,)), layers.Rescaling(2.0)])
        )


def test_an_encoder_without_weights_is_refused_at_once():
    with pytest.raises(ValueError, match="must have a Dense or a convolution"):
        stacked_autoencoder(keras.Sequential([keras.Input((3,)), layers.ReLU()]))
