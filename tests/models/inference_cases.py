"""A small classifier, and how to find a candidate in a result."""

import keras
import numpy as np
from keras import layers

from keras_dnn.models import Candidate, InferenceResult

TENSORFLOW = [
    "tf.function",
    "folded tf.function",
    "frozen graph",
    "TFLite float32",
    "TFLite float16",
    "TFLite int8",
]
"""The runtimes that come with TensorFlow."""


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def classifier():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ]
    )
    norm = model.layers[1]
    norm.moving_mean.assign([0.1, -0.2, 0.3, 0.0])
    norm.moving_variance.assign([0.5, 1.5, 0.7, 2.0])
    return model


def candidate(result: InferenceResult, name: str) -> Candidate:
    return next(each for each in result.candidates if each.name == name)
