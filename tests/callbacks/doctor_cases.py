"""Trainings with one problem each, and healthy ones."""

import functools

import keras
import numpy as np

from tests.diagnostics import networks
from tests.diagnostics.networks import CLASSES, network, normal

layers = keras.layers
ROWS = 480


def shuffled(data, seed=5):
    """The same examples with labels that mean nothing."""
    x, y = data
    return x, np.random.default_rng(seed).permutation(y)


def split(data, at):
    x, y = data
    return (x[:at], y[:at]), (x[at:], y[at:])


def constant(value):
    return keras.initializers.Constant(value)


@keras.saving.register_keras_serializable(package="tests")
class Logarithm(layers.Layer):
    """NaN below zero."""

    def call(self, x):
        return keras.ops.log(x + self.shift)

    shift = 0.0


class Root(layers.Layer):
    """Finite at zero, except for its gradient."""

    def call(self, x):
        return keras.ops.sqrt(keras.ops.relu(x))


def with_layer(kind, layer):
    networks.seeded()
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1) if kind == "cnn" else (20,)),
            layers.Flatten(),
            layers.Dense(16, "relu", kernel_initializer="he_normal"),
            layer,
            layers.Dense(CLASSES, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def dropped(kind, rate):
    networks.seeded()
    body = [keras.Input((12, 12, 1) if kind == "cnn" else (20,)), layers.Flatten()]
    for _ in range(2):
        dense = layers.Dense(48, "relu", kernel_initializer="glorot_normal")
        body += [layers.Dropout(rate), dense]
    body += [layers.Dropout(rate), layers.Dense(CLASSES, "softmax")]
    model = keras.Sequential(body)
    model.compile(keras.optimizers.Adam(0.001), "sparse_categorical_crossentropy")
    return model


def spoiled(data, row):
    x, y = data
    x = x.copy()
    x[row] = np.nan
    return x, y


def memory(kind):
    """Large enough to memorise its examples."""
    return network(kind, 3, optimizer=rate("Adam", 0.01))


def rate(optimizer, value):
    return getattr(keras.optimizers, optimizer)(value)


FAST = {"mlp": 0.02, "cnn": 0.004}
LONG = {"mlp": 2, "cnn": 1}


def problems():
    """Kind, name of the check, strength, model, data, epochs, validation data."""
    for kind in ("mlp", "cnn"):
        data = networks.digits(kind, rows=ROWS)
        small, other = split(shuffled(data), 80)
        noise = shuffled(networks.digits(kind, rows=2 * ROWS))
        cases = (
            (
                "rate-too-high",
                "Adam at 1",
                lambda k: network(k, 3, optimizer=rate("Adam", 1.0)),
                data,
                3,
            ),
            (
                "rate-too-high",
                "Adam at 30",
                lambda k: network(k, 3, optimizer=rate("Adam", 30.0)),
                data,
                3,
            ),
            (
                "rate-too-low",
                "Adam at 1e-6",
                lambda k: network(k, 3, optimizer=rate("Adam", 1e-6)),
                data,
                3,
            ),
            (
                "rate-too-low",
                "SGD at 1e-6",
                lambda k: network(k, 3, optimizer=rate("SGD", 1e-6)),
                data,
                3,
            ),
            (
                "vanishing",
                "12 sigmoids",
                lambda k: network(k, 12, "sigmoid", "glorot_normal"),
                data,
                2,
            ),
            (
                "vanishing",
                "16 sigmoids",
                lambda k: network(k, 16, "sigmoid", "glorot_normal"),
                data,
                2,
            ),
            (
                "exploding",
                "weights of 1",
                lambda k: network(k, 8, "relu", normal(1.0)),
                data,
                2,
            ),
            (
                "exploding",
                "weights of 3",
                lambda k: network(k, 8, "relu", normal(3.0)),
                data,
                2,
            ),
            (
                "dead-units",
                "biases of -4",
                lambda k: network(k, 3, bias_initializer=constant(-4.0)),
                data,
                2,
            ),
            (
                "dead-units",
                "biases of -20",
                lambda k: network(k, 3, bias_initializer=constant(-20.0)),
                data,
                2,
            ),
            (
                "saturated-units",
                "weights of 4",
                lambda k: network(k, 2, "tanh", normal(4.0)),
                data,
                2,
            ),
            (
                "saturated-units",
                "biases of 8",
                lambda k: network(k, 2, "sigmoid", bias_initializer=constant(8.0)),
                data,
                2,
            ),
            ("nonfinite", "a logarithm", lambda k: with_layer(k, Logarithm()), data, 1),
            ("nonfinite", "a root", lambda k: with_layer(k, Root()), data, 1),
            (
                "nonfinite",
                "one example",
                lambda k: network(k, 2),
                spoiled(data, 300),
                1,
            ),
            (
                "plateau",
                "no information",
                lambda k: network(
                    k, 1, "tanh", "glorot_uniform", optimizer=rate("Adam", 0.003)
                ),
                (np.zeros_like(noise[0]), noise[1]),
                8,
            ),
            (
                "plateau",
                "labels at random",
                lambda k: network(
                    k, 1, units=2, norm=k == "cnn", optimizer=rate("Adam", 0.003)
                ),
                shuffled(networks.digits(kind, rows=4 * ROWS)),
                8,
            ),
            # A convolution has smaller weights, so that the same step changes more.
            (
                "update-ratio",
                "fast",
                lambda k: network(k, 3, optimizer=rate("Adam", FAST[k])),
                data,
                LONG[kind],
            ),
            (
                "update-ratio",
                "faster",
                lambda k: network(k, 3, optimizer=rate("Adam", 1.5 * FAST[k])),
                data,
                LONG[kind],
            ),
        )
        for name, word, make, given, epochs in cases:
            yield kind, name, word, make, given, epochs, None
        guess = "no-better-than-a-guess"
        yield kind, guess, "labels at random", memory, small, 21, other
        yield kind, guess, "longer", memory, small, 25, other
        (x, y), right = split(data, 160)
        # Every other label says nothing.
        mixed = x, np.where(np.arange(160) % 2, y, shuffled((x, y))[1])
        yield kind, "overfitting", "half of the labels", memory, mixed, 15, right
        yield kind, "overfitting", "half of them, longer", memory, mixed, 25, right
        training, validation = split(data, 400)
        for word, dropout_rate in (("dropout of 0.8", 0.8), ("dropout of 0.9", 0.9)):
            make = functools.partial(dropped, rate=dropout_rate)
            yield kind, "underfitting", word, make, training, 4, validation


def healthy():
    """A name, the model, training and validation data."""
    mlp = split(networks.digits("mlp", rows=ROWS), 400)
    cnn = split(networks.digits("cnn", rows=ROWS), 400)
    for name, make, (x, y) in networks.healthy():
        if x.shape[1:] == (20,) and y.ndim == 1 and y.dtype == "int32":
            yield name, make, *mlp
        elif x.shape[1:] == (12, 12, 1) and name != "rescaled":
            yield name, make, *cnn
        else:
            yield name, make, *split((x, y), 80)
