"""Layers and models used more than once, and models inside models."""

import keras
from keras import layers, ops

from tests.zoo.arrays import classes, numbers, pixels, tokens
from tests.zoo.model_case import Data, zoo_model


def encoder() -> keras.Model:
    inputs = keras.Input((6,))
    x = layers.Dense(8, use_bias=False)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.2)(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(4)(x), name="encoder")


@zoo_model(lambda: Data([numbers(6), numbers(6, seed=4)], classes(2)))
def siamese() -> keras.Model:
    """One encoder for two inputs, and the distance between the two codes."""
    shared = encoder()
    left, right = keras.Input((6,)), keras.Input((6,))
    difference = shared(left) - shared(right)
    distance = ops.sqrt(ops.sum(ops.square(difference), -1, keepdims=True) + 1e-6)
    model = keras.Model([left, right], layers.Dense(1, "sigmoid")(distance))
    model.compile("rmsprop", "binary_crossentropy", metrics=["accuracy"])
    return model


@zoo_model(lambda: Data(numbers(6), numbers(6, seed=4)))
def layer_used_twice() -> keras.Model:
    """One Dense layer and one Dropout, each applied twice in a row."""
    inputs = keras.Input((6,))
    dense, dropout = layers.Dense(6, activation="tanh"), layers.Dropout(0.2)
    x = dropout(dense(dropout(dense(inputs))))
    model = keras.Model(inputs, layers.Add()([inputs, x]))
    model.compile("adam", "mse")
    return model


@zoo_model(lambda: Data(pixels(8, 8, 3), classes(3)))
def nested_models() -> keras.Model:
    """A Sequential that holds a functional model that holds a Sequential."""
    block = keras.Sequential(
        [
            layers.Conv2D(4, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ],
        name="block",
    )
    inputs = keras.Input((8, 8, 3))
    x = block(layers.Rescaling(1 / 255)(inputs))
    features = layers.GlobalAveragePooling2D()(layers.Dropout(0.1)(x))
    backbone = keras.Model(inputs, features, name="backbone")
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), backbone, layers.Dropout(0.3), layers.Dense(3)]
    )
    model.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"]
    )
    return model


@zoo_model(lambda: Data(numbers(8, 8, 1), numbers(8, 8, 1)))
def autoencoder_of_two_models() -> keras.Model:
    """An encoder and an autoencoder that share the same Input and layers."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, activation="relu")(image)
    x = layers.MaxPooling2D(2)(x)
    code = layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    inner = keras.Model(image, code, name="encoder")
    x = layers.Reshape((2, 2, 1))(inner.output)
    x = layers.Conv2DTranspose(4, 3, activation="relu")(x)
    x = layers.UpSampling2D(2)(x)
    decoded = layers.Conv2D(1, 1)(x)
    model = keras.Model(image, decoded, name="autoencoder")
    model.compile("adam", "mse")
    return model


@zoo_model(lambda: Data(numbers(6), numbers(1)))
def ensemble() -> keras.Model:
    """Three models of the same kind, averaged, as in the functional guide."""
    members = [encoder() for _ in range(3)]
    for number, member in enumerate(members):
        member.name = f"member_{number}"
    inputs = keras.Input((6,))
    x = layers.Average()([member(inputs) for member in members])
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile("sgd", "mse")
    return model


class TransposedDense(layers.Layer):
    """Multiplies by the transposed kernel of another layer."""

    def __init__(self, dense: layers.Dense, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.dense = dense

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.bias = self.add_weight(
            shape=(self.dense.kernel.shape[0],), initializer="zeros", name="bias"
        )

    def call(self, inputs: object) -> object:
        return ops.matmul(inputs, ops.transpose(self.dense.kernel)) + self.bias


@zoo_model(lambda: Data(numbers(6), numbers(6)))
def tied_autoencoder() -> keras.Model:
    """A decoder layer that uses the encoder's kernel, transposed."""
    dense = layers.Dense(4, activation="relu")
    inputs = keras.Input((6,))
    code = layers.Dropout(0.1)(dense(inputs))
    model = keras.Model(inputs, TransposedDense(dense)(code))
    model.compile("adam", "mse")
    return model


@zoo_model(lambda: Data(tokens(7, 20), tokens(7, 20, seed=4)))
def tied_language_model() -> keras.Model:
    """A recurrent language model whose output uses the word vectors again."""
    embedding = layers.ReversibleEmbedding(20, 8, mask_zero=True)
    inputs = keras.Input((None,), dtype="int32")
    x = layers.GRU(8, return_sequences=True)(embedding(inputs))
    x = layers.Dropout(0.2)(x)
    model = keras.Model(inputs, embedding(x, reverse=True))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
    return model
