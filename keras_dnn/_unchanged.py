"""What something may change for a while and that is put back, whatever happens."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from keras_dnn._interrupts import interrupts_held
from keras_dnn._keras.layers import states, sublayers
from keras_dnn._keras.losses import WRITTEN_BY_FIT
from keras_dnn._keras.optimizers import nested_optimizers, optimizers_within
from keras_dnn._keras.patched import patched
from keras_dnn._keras.randomness import same_global_seeds
from keras_dnn._tensorflow import tf


@contextmanager
def restored(variables: Iterable[Any]) -> Iterator[None]:
    """Puts variables back at the end, bit for bit, also after an exception.

    Args:
        variables: of Keras or of TensorFlow; on several replicas each has its own copy.
    """
    unique = {id(variable): variable for variable in variables}
    values = [
        # A copy: PyTorch's array would change with the variable.
        (copy, np.array(keras.ops.convert_to_numpy(copy)))
        for variable in unique.values()
        for copy in _copies(variable)
    ]
    try:
        yield
    finally:
        with interrupts_held():
            for copy, value in values:
                copy.assign(value)


def _value(variable: Any) -> np.ndarray:
    # A variable of TensorFlow, which Keras's function reads with a warning of NumPy.
    on_tensorflow = keras.backend.backend() == "tensorflow"
    value: np.ndarray = (
        variable.numpy() if on_tensorflow else keras.ops.convert_to_numpy(variable)
    )
    return value


@contextmanager
def same_randomness() -> Iterator[None]:
    """Puts the random states of Keras, TensorFlow, NumPy and Python back at the end."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with same_global_seeds():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def unchanged_by_calls(model: keras.Model) -> Iterator[None]:
    """Puts back what calls of the model change, bit for bit, also after an exception.

    Weights, statistics, metrics, the states of stateful recurrent layers, and random
    states: of layers, Keras, TensorFlow, NumPy and Python.
    """
    variables = [*model.variables, *model.metrics_variables, *moving_variables(model)]
    with same_randomness(), restored(variables):
        yield


@contextmanager
def unchanged_by_training(model: keras.Model) -> Iterator[None]:
    """Puts back everything that `fit` changes, bit for bit, also after an exception.

    Weights, statistics of normalisation, the states of stateful recurrent layers, the
    optimizer's state and its loss scale, metrics, the states of random generators
    (those of layers, of Keras, TensorFlow, NumPy and Python) and what `fit` writes on
    the model. Also the optimizers that a `train_step` of one's own uses, which the
    model or a model in it keeps in an attribute.

    Args:
        model: a compiled model that is built. Its optimizer is built on entry, as the
            first step of `fit` would do; the others are built when they are used.
    """
    optimizer = model.optimizer
    if optimizer is not None and not optimizer.built:
        with model.distribute_strategy.scope():
            optimizer.build(model.trainable_variables)
    optimizers = [
        part
        for outer in optimizers_within(model).values()
        for part in nested_optimizers(outer)
    ]
    variables = [
        *model.variables,
        *model.metrics_variables,
        *moving_variables(model),
        *(v for optimizer in optimizers for v in optimizer.variables),
    ]
    known = set(map(id, variables))
    attributes = {
        name: getattr(model, name) for name in WRITTEN_BY_FIT if hasattr(model, name)
    }
    model.train_function = None
    try:
        with ExitStack() as stack:
            stack.enter_context(same_randomness())
            for optimizer in optimizers:
                if not optimizer.built:
                    stack.enter_context(_as_built(optimizer))
            stack.enter_context(restored(variables))
            yield
    finally:
        with interrupts_held():
            # Metrics that did not exist before.
            for metric in model.metrics:
                if not known.issuperset(map(id, metric.variables)):
                    metric.reset_state()
            for name in WRITTEN_BY_FIT:
                if name in attributes:
                    setattr(model, name, attributes[name])
                elif hasattr(model, name):
                    delattr(model, name)


@contextmanager
def _as_built(optimizer: Any) -> Iterator[None]:
    """Puts back at the end what an optimizer held when it was built in the block."""
    built: list[tuple[Any, Any]] = []
    build = optimizer.build

    def recording(variables: Any) -> None:
        # In a graph that is being traced the variables would have no values yet.
        with tf.init_scope():
            build(variables)
            built.extend(
                (v, keras.ops.convert_to_numpy(v)) for v in optimizer.variables
            )

    try:
        with patched(optimizer, "build", recording):
            yield
    finally:
        with interrupts_held():
            for variable, value in built:
                variable.assign(value)


def moving_variables(model: keras.Model) -> list[keras.Variable]:
    """What a forward pass may change: statistics, states, and seeds of randomness.

    Frozen weights, of which there may be many, are not among them.
    """
    return [v for layer in sublayers(model) for v in states(layer)]


def _copies(variable: Any) -> list[Any]:
    """The variable on each replica; statistics may differ there."""
    native = variable.value if isinstance(variable, keras.Variable) else variable
    if tf is not None and isinstance(native, tf.distribute.DistributedValues):
        return list(native.values)
    # On other backends the value is an array, to which nothing can be assigned.
    return [native if keras.backend.backend() == "tensorflow" else variable]
