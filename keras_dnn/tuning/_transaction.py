"""A trial after which a model is as if it had never been trained."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_dnn._tensorflow import tf

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
    values = [
        (copy, copy.numpy())
        for variable in _variables(model)
        for copy in _copies(variable)
    ]
    known = {id(variable) for variable in _variables(model)}
    attributes = {
        name: getattr(model, name) for name in ATTRIBUTES if hasattr(model, name)
    }
    seeds = random.getstate(), np.random.get_state()  # noqa: NPY002
    model.train_function = None
    try:
        yield
    finally:
        for copy, value in values:
            copy.assign(value)
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


def _variables(model: keras.Model) -> list[Any]:
    everything = [
        *model.variables,
        *model.metrics_variables,
        *model.optimizer.variables,
        _global_seed(),
    ]
    unique = {id(variable): variable for variable in everything if variable is not None}
    return list(unique.values())


def _copies(variable: Any) -> list[Any]:
    """The variable on each replica; statistics may differ there."""
    native = variable.value if isinstance(variable, keras.Variable) else variable
    if isinstance(native, tf.distribute.DistributedValues):
        return list(native.values)
    return [native]


def _global_seed() -> Any:
    """The state of Keras's global generator, if anything has drawn from it."""
    generator = keras.src.backend.common.global_state.get_global_attribute(
        "global_seed_generator"
    )
    return None if generator is None else generator.state
