"""Encoders of every kind that the tasks take, and what is refused."""

import keras
import numpy as np
import pytest

from keras_dnn.pretraining import autoencoder, masking, siamese

layers = keras.layers


def x(rows=4):
    return np.random.default_rng(1).normal(size=(rows, 4)).astype("float32")


def test_an_encoder_may_take_and_return_lists_of_one_tensor():
    given = keras.Input((4,))
    features = layers.Dense(3, "tanh")(given)
    encoder = keras.Model([given], [features])
    decoder = keras.Sequential([layers.Dense(4)])
    model = autoencoder(encoder, decoder)
    expected = decoder(keras.Model(given, features)(x()))
    np.testing.assert_allclose(model(x()), expected, rtol=1e-6)
    assert siamese(encoder)([x(), x()]).shape == (4, 1)


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize`")
def test_an_encoder_whose_kernels_are_rounded_is_refused():
    encoder = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="below")])
    encoder.quantize("int8")
    with pytest.raises(ValueError, match=r"must not be quantised.*'below' of int8"):
        siamese(encoder)


def test_features_of_an_unknown_length_are_explained():
    encoder = keras.Sequential([keras.Input((None, 2)), layers.Conv1D(3, 2)])
    decoder = keras.Sequential([layers.Flatten(), layers.Dense(4)])
    with pytest.raises(ValueError, match=r"decoder must take .* \(None, None, 3\)"):
        autoencoder(encoder, decoder)
    with pytest.raises(ValueError, match=r"known shape, as from keras\.Input"):
        masking(encoder, decoder)
