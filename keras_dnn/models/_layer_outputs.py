"""The outputs of each layer of a model, observed without changing it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_dnn._keras.layers import sublayers
from keras_dnn._keras.patched import patched
from keras_dnn._layer_kinds import COPYING
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

layers = keras.layers


def computing_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers that compute something, in nested models and wrappers too.

    The cell of a recurrent layer is not among them: it is called in a loop.
    """
    found = list(sublayers(model))
    cells = {
        id(part)
        for layer in found
        if isinstance(layer, layers.RNN)
        for part in sublayers(layer.cell)
    }
    return [
        layer
        for layer in found
        if id(layer) not in cells
        and not isinstance(layer, keras.Model)
        and not isinstance(layer, COPYING)
    ]


@contextlib.contextmanager
def watched(
    model: keras.Model, see: Callable[[keras.layers.Layer, Any], None]
) -> Iterator[None]:
    """Calls `see(layer, outputs)` at each call of one of the model's layers.

    Use it around the trace of a `tf.function`, not around its calls.
    """
    with watched_calls(model, lambda layer, taken, outputs: see(layer, outputs)):
        yield


@contextlib.contextmanager
def watched_calls(
    model: keras.Model, see: Callable[[keras.layers.Layer, Any, Any], None]
) -> Iterator[None]:
    """Calls `see(layer, taken, outputs)`; `taken` are all arguments of the call."""
    with contextlib.ExitStack() as stack:
        for layer in computing_layers(model):
            stack.enter_context(patched(layer, "call", _watched(layer, see)))
        yield


def first_float(structure: Any) -> Tensor | None:
    """The first tensor of floating type in a structure: what a layer works on."""
    for part in keras.tree.flatten(structure):
        if isinstance(part, tf.Tensor) and part.dtype.is_floating:
            return part
    return None


def _watched(
    layer: keras.layers.Layer, see: Callable[[keras.layers.Layer, Any, Any], None]
) -> Callable[..., Any]:
    call = layer.call

    def watched_call(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        see(layer, (args, kwargs), outputs)
        return outputs

    return watched_call
