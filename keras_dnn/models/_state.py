"""Variables that something may move and that are put back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_dnn._graph import states, sublayers
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


def moving_variables(model: keras.Model) -> list[keras.Variable]:
    """What a forward pass may move: statistics, states, and seeds of randomness.

    Weights that are frozen, of which there may be many, are not among them.
    """
    return [v for layer in sublayers(model) for v in states(layer)]


def _copies(variable: Any) -> list[Any]:
    """The variable on each replica; statistics may differ there."""
    native = variable.value if isinstance(variable, keras.Variable) else variable
    if isinstance(native, tf.distribute.DistributedValues):
        return list(native.values)
    return [native]
