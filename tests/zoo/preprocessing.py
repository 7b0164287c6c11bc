"""Preprocessing, augmentation and lookups inside the model."""

import keras
from keras import layers

from tests.zoo.arrays import classes, numbers, pixels
from tests.zoo.model_case import Data, zoo_model


@zoo_model(lambda: Data(100 + 20 * numbers(6), numbers(1)))
def adapted_normalization() -> keras.Model:
    """Normalization adapted to the data, before a regression."""
    normalize = layers.Normalization()
    normalize.adapt(100 + 20 * numbers(6))
    model = keras.Sequential(
        [
            keras.Input((6,)),
            normalize,
            layers.Dense(8, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mae")
    return model


@zoo_model(lambda: Data(pixels(8, 8, 3), classes(3)))
def augmentation() -> keras.Model:
    """Random flips, shifts, rotations and contrast as first layers."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.RandomFlip("horizontal"),
            layers.RandomTranslation(0.1, 0.1),
            layers.RandomRotation(0.1),
            layers.RandomContrast(0.2),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@zoo_model(lambda: Data([100 * numbers(1), classes(5, 1)], classes(2)))
def tabular_lookups() -> keras.Model:
    """Columns cut into ranges, looked up and crossed inside the model."""
    age, code = keras.Input((1,)), keras.Input((1,), dtype="int64")
    ranges = layers.Discretization([-50.0, 0.0, 50.0], output_mode="one_hot")(age)
    known = layers.IntegerLookup(vocabulary=[0, 1, 2], output_mode="one_hot")(code)
    bucket = layers.Discretization([-50.0, 0.0, 50.0])(age)
    crossed = layers.HashedCrossing(8, output_mode="one_hot")([bucket, code])
    x = layers.Concatenate()([ranges, known, crossed])
    x = layers.Dropout(0.1)(layers.Dense(4, activation="relu")(x))
    model = keras.Model([age, code], layers.Dense(1, activation="sigmoid")(x))
    model.compile("adam", "binary_crossentropy", metrics=["AUC"])
    return model
