"""Encoders to pre-train, and data."""

import keras
import numpy as np
import tensorflow as tf

layers = keras.layers


def normal(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def images(rows=8, side=8, channels=1):
    return np.random.default_rng(1).uniform(size=(rows, side, side, channels))


def dense(units=(4, 3), features=6, activation="tanh"):
    hidden = [layers.Dense(n, activation, name=f"dense_{n}") for n in units]
    return keras.Sequential([keras.Input((features,)), *hidden], name="encoder")


def convolutional(side=9):
    return keras.Sequential(
        [
            keras.Input((side, side, 1)),
            layers.Conv2D(4, 3, 2, "same", use_bias=False),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Conv2D(5, 3, activation="elu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.1),
            layers.Flatten(),
            layers.Dense(6, "tanh", name="code"),
        ],
        name="encoder",
    )


def identity(shape):
    """An encoder or decoder that returns its inputs."""
    return keras.Sequential([keras.Input(shape), layers.Activation("linear")])


def on_replicas(strategy, layer, x):
    """Two outputs on each replica, in training, of a layer built under a strategy."""

    @tf.function
    def step():
        return strategy.run(lambda: layer(x, training=True))

    results = strategy.experimental_local_results
    return [[r.numpy() for r in results(step())] for _ in range(2)]
