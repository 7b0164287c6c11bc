"""Models to rebuild, and what tells whether a copy is exact."""

import keras
import numpy as np
from keras import layers


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def scrambled(model, seed=0):
    """No weight is at its first value; seeds have moved on."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed" in variable.path:
            variable.assign([7, 1 + int(generator.integers(9))])
        elif keras.backend.is_float_dtype(variable.dtype):
            variable.assign(generator.uniform(0.1, 1, variable.shape))
    return model


def functional(function, *shapes, **kwargs):
    inputs = [keras.Input(shape, **kwargs) for shape in shapes]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], function(*inputs))


def block(name="block"):
    x = keras.Input((4,))
    y = layers.Dense(4, name="inner")(layers.BatchNormalization()(x))
    return keras.Model(x, y, name=name)


def nested(x):
    inner = block()
    return inner(layers.ReLU()(inner(x)))


def shared(x):
    dense, drop = layers.Dense(4, "tanh"), layers.Dropout(0.5, seed=3)
    return dense(drop(dense(x)))
