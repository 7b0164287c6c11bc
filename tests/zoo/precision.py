"""Quantised models, low-rank adapters and half precision."""

import warnings

import keras
from keras import layers

from tests.zoo.arrays import classes, numbers, tokens
from tests.zoo.model_case import Data, zoo_model


def table() -> Data:
    return Data(numbers(16), classes(3))


def classifier(dtype: object = None, norm: bool = False) -> keras.Model:
    inputs = keras.Input((16,), dtype=dtype and "float32")
    x = layers.Dense(16, activation="relu", dtype=dtype)(inputs)
    if norm:
        x = layers.BatchNormalization(dtype=dtype)(x)
    x = layers.Dropout(0.2, dtype=dtype)(x)
    x = layers.Dense(3, dtype=dtype)(x)
    x = layers.Activation("softmax", dtype="float32")(x)
    return keras.Model(inputs, x)


def compiled(model: keras.Model) -> keras.Model:
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@zoo_model(table)
def mixed_float16() -> keras.Model:
    """Float16 with a scaled loss: the policy is given to each layer."""
    return compiled(classifier("mixed_float16", norm=True))


@zoo_model(table)
def mixed_bfloat16() -> keras.Model:
    """Bfloat16: the policy is given to each layer."""
    return compiled(classifier("mixed_bfloat16", norm=True))


@zoo_model(table)
def float64() -> keras.Model:
    """Weights and activations in float64."""
    return compiled(classifier("float64", norm=True))


def quantised(mode: str) -> keras.Model:
    model = classifier()
    with warnings.catch_warnings(action="ignore"):
        # Keras warns that the Input cannot be quantised.
        model.quantize(mode)
    return compiled(model)


@zoo_model(table, trains=False)
def quantised_to_int8() -> keras.Model:
    """A classifier quantised to int8, for inference only."""
    return quantised("int8")


@zoo_model(table, trains=False)
def quantised_to_int4() -> keras.Model:
    """A classifier quantised to int4, for inference only."""
    return quantised("int4")


@zoo_model(table)
def quantised_to_float8() -> keras.Model:
    """A classifier that trains in float8."""
    return quantised("float8")


@zoo_model(lambda: Data(tokens(6, 20), classes(3)))
def low_rank_adapters() -> keras.Model:
    """LoRA on an embedding and a Dense layer; the rest is frozen by it."""
    inputs = keras.Input((6,), dtype="int32")
    embedding, dense = layers.Embedding(20, 8), layers.Dense(8, activation="relu")
    x = layers.GlobalAveragePooling1D()(embedding(inputs))
    x = layers.Dropout(0.2)(dense(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    embedding.enable_lora(2)
    dense.enable_lora(2)
    return compiled(model)
