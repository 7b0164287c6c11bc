"""What something may change for a while and that is put back, whatever happens."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.layers import (
    forget_global_seed,
    global_seed,
    states,
    sublayers,
)
from keras_dnn._keras.losses import WRITTEN_BY_FIT
from keras_dnn._tensorflow import tf


@contextmanager
def restored(variables: Iterable[Any]) -> Iterator[None]:
    """Puts variables back at the end, bit for bit, also after an exception.

    Args:
        variables: of Keras or of TensorFlow; on several replicas each has its own copy.
    """
    unique = {id(variable): variable for variable in variables}
    values = [
        (copy, copy.numpy())
        for variable in unique.values()
        for copy in _copies(variable)
    ]
    try:
        yield
    finally:
        for copy, value in values:
            copy.assign(value)


@contextmanager
def same_randomness() -> Iterator[None]:
    """Puts the random states of Keras, NumPy and Python back at the end."""
    generator = global_seed()
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with restored(generator):
            yield
    finally:
        if not generator:
            forget_global_seed()
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def unchanged_by_calls(model: keras.Model) -> Iterator[None]:
    """Puts back weights, states, metrics and random states after calls of the model."""
    variables = [*model.variables, *model.metrics_variables, *moving_variables(model)]
    with same_randomness(), restored(variables):
        yield


@contextmanager
def unchanged_by_training(model: keras.Model) -> Iterator[None]:
    """Puts back everything that `fit` changes, bit for bit, also after an exception.

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
        name: getattr(model, name) for name in WRITTEN_BY_FIT if hasattr(model, name)
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
        for name in WRITTEN_BY_FIT:
            if name in attributes:
                setattr(model, name, attributes[name])
            elif hasattr(model, name):
                delattr(model, name)


def moving_variables(model: keras.Model) -> list[keras.Variable]:
    """What a forward pass may change: statistics, states, and seeds of randomness.

    Frozen weights, of which there may be many, are not among them.
    """
    return [v for layer in sublayers(model) for v in states(layer)]


def _copies(variable: Any) -> list[Any]:
    """The variable on each replica; statistics may differ there."""
    native = variable.value if isinstance(variable, keras.Variable) else variable
    if isinstance(native, tf.distribute.DistributedValues):
        return list(native.values)
    return [native]
