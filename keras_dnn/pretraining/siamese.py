"""Siamese networks: predict whether two examples are of the same class.

G. Koch, R. Zemel and R. Salakhutdinov, "Siamese neural networks for one-shot image
recognition", 2015.
"""

from __future__ import annotations

import keras

from keras_dnn._precision import at_least_float32
from keras_dnn.pretraining._encoder import checked, encoded, flat


def siamese(encoder: keras.Model) -> keras.Model:
    r"""Returns a model that trains an encoder to recognise pairs of the same class.

    $$
    p(\text{same}) = \sigma\Big(b + \sum_j w_j \, \big|f_j(x_1) - f_j(x_2)\big|\Big)
    $$

    Both examples pass through the same encoder. A task with many classes and few
    examples of each has a great many pairs, and its features transfer: what
    distinguishes the faces of strangers also distinguishes those of friends.

    Args:
        encoder: a functional model, or a Sequential that begins with `keras.Input`,
            with one input and one output. It is part of the model, not a copy.

    Returns:
        A model with two inputs to compile with `"binary_crossentropy"`, with the metric
        `"accuracy"` if wanted, and to train with `fit(Pairs(x, labels))` or
        `fit([first, second], same)`, where `same` is 1 or 0.

    Raises:
        ValueError: if the encoder has no graph, or several inputs or outputs.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_dnn.pretraining import Pairs, siamese
        >>> encoder = keras.Sequential(
        ...     [keras.Input((8,)), keras.layers.Dense(4, "relu")]
        ... )
        >>> model = siamese(encoder)
        >>> model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        >>> x, labels = np.ones((32, 8)), np.arange(32) % 4
        >>> history = model.fit(Pairs(x, labels), verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'loss']

    Reference:
        Koch, Zemel and Salakhutdinov, "Siamese neural networks for one-shot image
        recognition", 2015.
    """
    checked(encoder)
    shape, dtype = encoder.inputs[0].shape[1:], encoder.inputs[0].dtype
    inputs = [
        keras.Input(shape, dtype=dtype, name=name) for name in ("first", "second")
    ]
    first, second = (flat(encoded(encoder, one)) for one in inputs)
    distance = keras.ops.absolute(first - second)
    same = keras.layers.Dense(
        1, activation="sigmoid", dtype=at_least_float32(distance.dtype), name="same"
    )(distance)
    return keras.Model(inputs, same, name="siamese")
