"""The first call of each layer, in hands that may look at it, and make it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import keras

from keras_dnn._keras.patched import patched
from keras_dnn._typing import Tensor

Layer: TypeAlias = keras.layers.Layer
Run: TypeAlias = Callable[[], tuple[Tensor, float]]
"""Makes the call; gives what it returns and the deviation before the activation."""
Do: TypeAlias = Callable[[Layer, Run], Tensor]


@contextmanager
def first_calls(layers: list[Layer], do: Do) -> Iterator[None]:
    """Has `do` make the first call of each layer, which need not be the only one."""
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(patched(layer, "call", _first_call(layer, do)))
        yield


def _first_call(layer: Layer, do: Do) -> Callable[..., Tensor]:
    call, called = layer.call, False

    def first_call(*args: Any, **kwargs: Any) -> Tensor:
        nonlocal called
        if called:
            return call(*args, **kwargs)
        called = True
        return do(layer, lambda: _observed(layer, call, args, kwargs))

    return first_call


def _observed(
    layer: Layer, call: Callable[..., Tensor], args: Any, kwargs: Any
) -> tuple[Tensor, float]:
    """What a call returns, and how what goes into the activation deviates."""
    seen: list[Tensor] = []
    activation = layer.activation

    def watched(z: Tensor) -> Tensor:
        seen.append(z)
        return activation(z)

    with patched(layer, "activation", watched):
        outputs = call(*args, **kwargs)
    # A subclass may do without the activation.
    z = keras.ops.cast(seen[0] if seen else outputs, "float32")
    return outputs, float(keras.ops.convert_to_numpy(keras.ops.std(z)))
