"""A trial after which a model is as if it had never been trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from keras_dnn.models._same_randomness import same_randomness
from keras_dnn.models._state import restored

ATTRIBUTES = ("history", "stop_training", "train_function", "_initial_epoch")
"""What `fit` leaves behind on a model besides its variables."""


@contextmanager
def untouched(model: keras.Model) -> Iterator[None]:
    """Puts everything that training moves back, bit for bit, also after an exception.

    Weights, statistics of normalisation, the optimizer's state and its loss scale,
    metrics, the states of random generators (those of layers, of Keras, NumPy and
    Python) and what `fit` writes on the model.

    Args:
        model: a compiled model that is built. Its optimizer is built on entry, as the
            first step of `fit` would do.
    """
    optimizer = model.optimizer
    if not optimizer.built:
        with model.distribute_strategy.scope():
            optimizer.build(model.trainable_variables)
    variables = [
        *model.variables,
        *model.metrics_variables,
        *model.optimizer.variables,
    ]
    known = set(map(id, variables))
    attributes = {
        name: getattr(model, name) for name in ATTRIBUTES if hasattr(model, name)
    }
    model.train_function = None
    try:
        with same_randomness(), restored(variables):
            yield
    finally:
        # Metrics that did not exist before.
        for metric in model.metrics:
            if not known.issuperset(map(id, metric.variables)):
                metric.reset_state()
        for name in ATTRIBUTES:
            if name in attributes:
                setattr(model, name, attributes[name])
            elif hasattr(model, name):
                delattr(model, name)
