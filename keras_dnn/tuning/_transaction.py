"""A trial after which a model is as if it had never been trained."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from keras_dnn._graph import global_seed
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
        *global_seed(),
    ]
    known = set(map(id, variables))
    attributes = {
        name: getattr(model, name) for name in ATTRIBUTES if hasattr(model, name)
    }
    seeds = random.getstate(), np.random.get_state()  # noqa: NPY002
    model.train_function = None
    try:
        with restored(variables):
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
        random.setstate(seeds[0])
        np.random.set_state(seeds[1])  # noqa: NPY002
