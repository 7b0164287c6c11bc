"""A small network, and the kernels of any model."""

import keras
import numpy as np

from keras_dnn.models._pruning.kernels import kernels, layers_by_path

layers = keras.layers


def network():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "tanh", name="low"),
            layers.Dense(7, "tanh", name="middle"),
            layers.Dense(2, name="top"),
        ]
    )


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def all_kernels(model):
    found = [k for layer in layers_by_path(model).values() for k in kernels(layer)]
    return {k.variable.path: k.variable for k in found if k.constraint_name}


def values(model):
    return [v.numpy() for v in all_kernels(model).values()]


def without_smallest(w, count):
    """The reference: zero unless larger than the last one to be removed."""
    if not count:
        return w
    return np.where(np.abs(w) > np.sort(np.abs(w).ravel())[count - 1], w, 0)
