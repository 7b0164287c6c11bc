"""Which Keras layers are random, and how to switch them on alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_dnn._keras.call_stack import same_call_context
from keras_dnn._keras.layers import (
    has_seeds,
    has_training_argument,
    is_preprocessing,
    sublayers,
)
from keras_dnn._keras.patched import patched
from keras_dnn._layer_kinds import DROPOUT_INSIDE, DROPOUTS, NOISES
from keras_dnn._typing import Tensor
from keras_dnn.layers.rrelu import RReLU

layers = keras.layers

KNOWN = (*DROPOUTS, *DROPOUT_INSIDE, *NOISES, RReLU)
"""Layers that say in an attribute how random they are."""


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


def draws(layer: Any) -> bool:
    """Whether a layer of no known kind is random: it draws from its own generator.

    Such as stochastic depth in a layer of the user's. Not augmentation, which belongs
    to the data, and not a model, whose generator mostly serves its `train_step`.
    """
    return (
        not isinstance(layer, (*KNOWN, keras.Model))
        and has_seeds(layer)
        and not is_preprocessing(layer)
    )


def stochastic(layer: Any) -> list[keras.layers.Layer]:
    """The layer and those inside it that can be random."""
    return [
        part for part in sublayers(layer) if rates(part) or noise(part) or draws(part)
    ]


@contextlib.contextmanager
def switched_on(chosen: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Calls these layers in training mode, whatever their callers say."""
    with _called_with(chosen, training=True):
        yield


@contextlib.contextmanager
def switched_off(chosen: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Calls these layers in inference mode, whatever their callers say.

    A layer of the user's without a `training` argument cannot be switched off.
    """
    with _called_with(chosen, training=False):
        yield


@contextlib.contextmanager
def _called_with(
    chosen: Sequence[keras.layers.Layer], *, training: bool
) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for layer, call in calls_with(chosen, training=training):
            stack.enter_context(patched(layer, "call", call))
        yield


def calls_with(
    chosen: Sequence[Any], *, training: bool = True
) -> Iterator[tuple[Any, Callable[..., Tensor]]]:
    """Layers, each with what takes the place of its `call` while these are on, or off.

    A chosen layer gets `training`. What else is inside it, such as batch norm, gets
    what the chosen layer would have got.
    """
    ids = {id(layer) for layer in chosen}
    for layer in chosen:
        outside: list[Any] = [None]
        yield layer, _in_mode(training, layer, outside)
        if not draws(layer):
            continue  # Nothing else in a known layer is different in training.
        for part in sublayers(layer):
            if id(part) not in ids and has_training_argument(part):
                yield part, _in_mode_outside(part, outside)


def _in_mode(training: bool, layer: Any, outside: list[Any]) -> Callable[..., Tensor]:
    call = layer.call
    # A user's dropout may be random whatever `training` says.
    forced = {"training": training} if has_training_argument(layer) else {}

    def call_in_mode(*args: Any, **kwargs: Any) -> Tensor:
        outside[0] = kwargs.get("training")
        with same_call_context():
            return call(*args, **{**kwargs, **forced})

    return call_in_mode


def _in_mode_outside(layer: Any, outside: list[Any]) -> Callable[..., Tensor]:
    call = layer.call

    def call_as_outside(*args: Any, **kwargs: Any) -> Tensor:
        return call(*args, **{**kwargs, "training": outside[0]})

    return call_as_outside
