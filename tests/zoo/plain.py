"""Sequential and functional models on one array."""

import keras
from keras import layers

from tests.zoo.arrays import ROWS, classes, numbers
from tests.zoo.model_case import Data, zoo_model


def table() -> Data:
    return Data(numbers(6), classes(3))


@zoo_model(table)
def sequential_without_input() -> keras.Model:
    """A Sequential that learns its input shape from the first batch of `fit`."""
    model = keras.Sequential(
        [
            layers.Dense(8, activation="relu"),
            layers.Dropout(0.25),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@zoo_model(table)
def sequential_with_batch_norm() -> keras.Model:
    """A Sequential with an Input, batch normalization and dropout."""
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


@zoo_model(lambda: Data(numbers(6), 200_000 + 80_000 * numbers(1, seed=9)))
def raw_regression() -> keras.Model:
    """A regression of targets in the hundred thousands, as of house prices."""
    inputs = keras.Input((6,))
    x = layers.Dense(8, activation="elu", kernel_regularizer="l2")(inputs)
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile("rmsprop", "mse", metrics=["mae"])
    return model


@zoo_model(lambda: Data(numbers(6), classes(2, 5)))
def multi_label() -> keras.Model:
    """A classifier with several sigmoid labels for each row."""
    inputs = keras.Input((6,))
    x = layers.LayerNormalization()(inputs)
    x = layers.Dense(8, activation="gelu")(x)
    x = layers.Dropout(0.2)(x)
    model = keras.Model(inputs, layers.Dense(5, activation="sigmoid")(x))
    model.compile("adam", "binary_crossentropy", metrics=["binary_accuracy"])
    return model


@zoo_model(table)
def self_normalizing() -> keras.Model:
    """SELU layers with LeCun initialization and alpha dropout."""
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "selu", kernel_initializer="lecun_normal"),
            layers.AlphaDropout(0.1),
            layers.Dense(8, "selu", kernel_initializer="lecun_normal"),
            layers.AlphaDropout(0.1),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("nadam", "sparse_categorical_crossentropy")
    return model


def weighted_rows() -> Data:
    return Data(numbers(6), classes(3), abs(numbers(seed=5)), {"batch_size": 8})


def weighted_classes() -> Data:
    return Data(numbers(6), classes(3), fit={"class_weight": {0: 1.0, 1: 4.0, 2: 0.5}})


def weighted_model() -> keras.Model:
    inputs = keras.Input((6,))
    x = layers.Dense(8, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model.compile(
        "adam",
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        weighted_metrics=["accuracy"],
    )
    return model


@zoo_model(weighted_rows)
def trained_with_sample_weight() -> keras.Model:
    """A classifier whose rows have weights of their own."""
    return weighted_model()


@zoo_model(weighted_classes)
def trained_with_class_weight() -> keras.Model:
    """A classifier that counts rare classes more."""
    return weighted_model()


@zoo_model(lambda: Data(numbers(6)[:1], classes(3)[:1]))
def one_row() -> keras.Model:
    """A model that gets a single row, with a batch norm in it."""
    return sequential_with_batch_norm()


@zoo_model(
    lambda: Data(numbers(6)[:0], classes(3)[:0]),
    trains=False,
    evaluates=False,
    predicts=False,
    note="Keras refuses data without rows",
)
def no_row() -> keras.Model:
    """A model that gets data without a single row."""
    return sequential_with_batch_norm()


@zoo_model(lambda: Data(numbers(6), classes(10_000)))
def ten_thousand_classes() -> keras.Model:
    """A softmax over ten thousand classes with integer labels."""
    inputs = keras.Input((6,))
    x = layers.Dropout(0.1)(layers.Dense(4, activation="tanh")(inputs))
    model = keras.Model(inputs, layers.Dense(10_000, activation="softmax")(x))
    model.compile("adagrad", "sparse_categorical_crossentropy")
    return model


@zoo_model(lambda: Data(numbers(6), numbers(), fit={"batch_size": ROWS}))
def targets_without_a_column() -> keras.Model:
    """A regression with outputs of shape (rows, 1) and targets of shape (rows,)."""
    model = keras.Sequential([layers.Dense(4, "relu"), layers.Dense(1)])
    model.compile("adam", keras.losses.Huber())
    return model
