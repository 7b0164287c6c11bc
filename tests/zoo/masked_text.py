"""Padded sentences and series: layers that hand on and take masks."""

import keras
import numpy as np
from keras import layers

from tests.zoo.arrays import classes, numbers, tokens
from tests.zoo.model_case import Data, zoo_model

LENGTH, WORDS = 7, 20


def sentences() -> Data:
    return Data(tokens(LENGTH, WORDS), classes(2))


def padded_series() -> Data:
    series = numbers(LENGTH, 3)
    return Data(np.where(tokens(LENGTH, 2)[..., None], series, 0), numbers(1))


@zoo_model(sentences)
def masked_text_lstm() -> keras.Model:
    """A text classifier: an embedding that masks the padding, and an LSTM."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(WORDS, 8, mask_zero=True)(inputs)
    x = layers.SpatialDropout1D(0.2)(x)
    x = layers.LSTM(6, dropout=0.2)(x)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


@zoo_model(sentences)
def masked_text_attention() -> keras.Model:
    """A text classifier with attention, which takes the mask of the embedding."""
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(WORDS, 8, mask_zero=True)(inputs)
    attended = layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, attended]))
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dropout(0.3)(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@zoo_model(padded_series)
def masked_series_gru() -> keras.Model:
    """A regression on padded series: Masking before a GRU."""
    inputs = keras.Input((LENGTH, 3))
    x = layers.Masking()(inputs)
    x = layers.GRU(6, return_sequences=True)(x)
    x = layers.Dropout(0.2)(x)
    x = layers.GRU(6)(x)
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile("sgd", "mse")
    return model


@zoo_model(sentences)
def masked_sequential() -> keras.Model:
    """A Sequential whose mask is computed by operations in its graph."""
    model = keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            layers.Embedding(WORDS, 8, mask_zero=True),
            layers.Dense(8, activation="relu"),
            layers.GlobalAveragePooling1D(),
            layers.Dropout(0.5),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model
