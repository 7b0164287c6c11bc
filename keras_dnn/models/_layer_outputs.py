"""The outputs of each layer of a model, observed without changing it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_dnn._keras.layers import sublayers
from keras_dnn._keras.patched import patched
from keras_dnn._layer_kinds import COPYING

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
    with contextlib.ExitStack() as stack:
        for layer in computing_layers(model):
            stack.enter_context(patched(layer, "call", _watched(layer, see)))
        yield


def _watched(
    layer: keras.layers.Layer, see: Callable[[keras.layers.Layer, Any], None]
) -> Callable[..., Any]:
    call = layer.call

    def watched_call(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        see(layer, outputs)
        return outputs

    return watched_call
