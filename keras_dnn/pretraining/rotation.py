"""Rotation: predict by how many quarters an image was turned.

S. Gidaris, P. Singh and N. Komodakis, "Unsupervised representation learning by
predicting image rotations", 2018.
"""

from __future__ import annotations

import keras

from keras_dnn._precision import at_least_float32
from keras_dnn.pretraining._encoder import (
    checked,
    encoded,
    flat,
    new_input,
    square_images,
)
from keras_dnn.pretraining._models_with_targets import RightIsFirst
from keras_dnn.pretraining._quarter_turns import TURNS, RandomTurns, RightFirst


def rotation(encoder: keras.Model, *, seed: int | None = None) -> keras.Model:
    r"""Returns a model that trains an encoder to recognise how an image is turned.

    $$
    \min_{f, W} \; \mathbb{E}\, {-\log} \operatorname{softmax}\big(W f(T^k x)\big)_k,
    \qquad k \sim U\{0, 1, 2, 3\}
    $$

    $T$ turns by a quarter, counterclockwise. To see that a shoe lies on its side the
    encoder must know what a shoe looks like. Where images have no natural orientation
    (cells, textures, stars) there is nothing to learn.

    In training each image is turned at random, independently at each step and on each
    replica. Otherwise image `i` of a batch is turned by `i mod 4` quarters, so that a
    validation loss covers all four turns and changes only with the model. Guessing at
    random is right in a quarter of the cases.

    Args:
        encoder: a functional model, or a Sequential that begins with `keras.Input`,
            that takes square images with their channels last. It is part of the model,
            not a copy.
        seed: integer seed of the turns.

    Returns:
        A model to compile with `"sparse_categorical_crossentropy"`, with the metric
        `"accuracy"` if wanted, and to train with `fit(x)`. It returns four
        probabilities, that of the right turn first.

    Raises:
        ValueError: if the encoder has no graph, or doesn't take square images.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_dnn.pretraining import rotation
        >>> conv = keras.layers.Conv2D
        >>> encoder = keras.Sequential(
        ...     [keras.Input((8, 8, 1)), conv(4, 3, 2, activation="relu")]
        ... )
        >>> model = rotation(encoder)
        >>> loss = "sparse_categorical_crossentropy"
        >>> model.compile("adam", loss, metrics=["accuracy"])
        >>> history = model.fit(np.ones((16, 8, 8, 1)), verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'loss']

    Reference:
        Gidaris, Singh and Komodakis, "Unsupervised representation learning by
        predicting image rotations", 2018.
    """
    square_images(checked(encoder), "rotation")
    inputs = new_input(encoder)
    turned, turns = RandomTurns(seed=seed, name="turn")(inputs)
    features = flat(encoded(encoder, turned))
    precise = at_least_float32(features.dtype)
    predictions = keras.layers.Dense(
        TURNS, activation="softmax", dtype=precise, name="predictions"
    )(features)
    outputs = RightFirst(dtype=precise, name="right_first")(predictions, turns)
    return RightIsFirst(inputs, outputs, name="rotation")
