"""Which Keras layers are random, and how to switch them on alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

from keras_dnn._keras.layers import has_training_argument, sublayers
from keras_dnn._keras.patched import patched
from keras_dnn._layer_kinds import DROPOUT_INSIDE, DROPOUTS
from keras_dnn._typing import Tensor
from keras_dnn.layers.rrelu import RReLU

layers = keras.layers


def rates(layer: Any) -> tuple[float, ...]:
    """The dropout rates of a layer itself that are not zero."""
    names: tuple[str, ...] = ()
    if isinstance(layer, DROPOUTS):
        names = ("rate",)
    elif isinstance(layer, DROPOUT_INSIDE):
        names = ("dropout", "recurrent_dropout")
    found = (getattr(layer, name, 0.0) for name in names)
    return tuple(rate for rate in found if rate)


def noise(layer: Any) -> tuple[float, ...]:
    """The numbers that say how much noise a layer without dropout makes, if any."""
    if isinstance(layer, layers.GaussianNoise):
        return (layer.stddev,) if layer.stddev else ()
    if isinstance(layer, RReLU):
        return (layer.lower, layer.upper) if layer.lower < layer.upper else ()
    return ()


def stochastic(layer: Any) -> list[keras.layers.Layer]:
    """The layer and those inside it that can be random."""
    return [part for part in sublayers(layer) if rates(part) or noise(part)]


@contextlib.contextmanager
def switched_on(chosen: Iterable[keras.layers.Layer]) -> Iterator[None]:
    """Calls these layers in training mode, whatever their callers say."""
    with contextlib.ExitStack() as stack:
        for layer in chosen:
            stack.enter_context(patched(layer, "call", in_training_mode(layer)))
        yield


def in_training_mode(layer: Any) -> Callable[..., Tensor]:
    """The layer's `call` with `training=True`."""
    call = layer.call
    # A user's dropout may be random whatever `training` says.
    forced = {"training": True} if has_training_argument(layer) else {}

    def trained_call(*args: Any, **kwargs: Any) -> Tensor:
        return call(*args, **{**kwargs, **forced})

    return trained_call
