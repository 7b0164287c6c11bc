"""Intercepts the first call of each layer, to observe and repeat it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import keras

from keras_dnn._keras.patched import patched
from keras_dnn._typing import Tensor

Layer: TypeAlias = keras.layers.Layer
Run: TypeAlias = Callable[[], tuple[Tensor, float]]
"""Makes the call; returns its outputs and their deviation before the activation."""
Handler: TypeAlias = Callable[[Layer, Run], Tensor]
"""Makes a call through `Run`, as often as needed, and returns its outputs."""


@contextmanager
def first_calls_through(handler: Handler, layers: list[Layer]) -> Iterator[None]:
    """Passes the first call of each layer to a handler; further calls are as usual."""
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(patched(layer, "call", _first_call(layer, handler)))
        yield


def _first_call(layer: Layer, handler: Handler) -> Callable[..., Tensor]:
    call, called = layer.call, False

    def first_call(*args: Any, **kwargs: Any) -> Tensor:
        nonlocal called
        if called:
            return call(*args, **kwargs)
        called = True
        return handler(layer, lambda: _observed(layer, call, args, kwargs))

    return first_call


def _observed(
    layer: Layer, call: Callable[..., Tensor], args: Any, kwargs: Any
) -> tuple[Tensor, float]:
    """The outputs of a call and the standard deviation before the activation."""
    inputs: list[Tensor] = []
    # A head made linear afterwards has None, a layer of one's own may have none.
    activation = getattr(layer, "activation", None)
    if activation is None:
        outputs = call(*args, **kwargs)
        return outputs, _deviation(outputs)

    def recording(z: Tensor) -> Tensor:
        inputs.append(z)
        return activation(z)

    with patched(layer, "activation", recording):
        outputs = call(*args, **kwargs)
    # A subclass may not call the activation.
    return outputs, _deviation(inputs[0] if inputs else outputs)


def _deviation(z: Tensor) -> float:
    z = keras.ops.cast(z, "float32")
    return float(keras.ops.convert_to_numpy(keras.ops.std(z)))
