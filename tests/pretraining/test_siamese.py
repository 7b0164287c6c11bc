"""Siamese networks against the formula, and their training on pairs."""

import keras
import numpy as np
import pytest

from keras_dnn.pretraining import Pairs, siamese
from tests.pretraining.pretraining_cases import dense, normal


def test_fit_uses_new_pairs_in_each_epoch_and_learns():
    """Two clouds, far apart."""
    labels = np.arange(64) % 2
    x = 0.3 * normal(64, 6) + np.where(labels, 1, -1)[:, None]
    pairs = Pairs(x.astype("float32"), labels, 16, batches=30, seed=1)
    model = siamese(dense())
    model.compile(
        keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"]
    )
    logs = model.fit(pairs, epochs=4, verbose=0).history
    # Keras may call `on_epoch_end` once more than there are epochs.
    assert pairs.epoch >= 4
    assert logs["accuracy"][-1] > 0.98


@pytest.mark.usefixtures("in_float64")
def test_returns_the_probability_of_the_formula():
    encoder, a, b = dense(), *normal(2, 5, 6, dtype="float64")
    model = siamese(encoder)
    w, bias = model.get_layer("same").get_weights()
    model.get_layer("same").set_weights([w, bias + 0.3])
    z = np.abs(encoder(a).numpy() - encoder(b).numpy()) @ w + 0.3
    expected = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(model([a, b]), expected, rtol=1e-12)
    np.testing.assert_allclose(model([b, a]), expected, rtol=1e-12)


def test_both_inputs_share_one_encoder_with_any_features():
    stack = [keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3)]
    model = siamese(keras.Sequential(stack))
    assert model.get_layer("same").kernel.shape == (32, 1)
    assert len(model.trainable_variables) == 4


def test_an_encoder_must_have_a_graph():
    with pytest.raises(ValueError, match=r"keras\.Input"):
        siamese(keras.layers.Dense(2))
