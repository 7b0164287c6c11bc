"""Which layers of a model are sampled from, and how to switch just these on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._keras.layers import random_functions, sublayers, sublayers_of
from keras_dnn._keras.patched import patched
from keras_dnn._layer_kinds import DROPOUTS
from keras_dnn._typing import Tensor
from keras_dnn.layers import MonteCarlo
from keras_dnn.layers._stochastic import (
    in_training_mode,
    noise,
    rates,
    stochastic,
)
from keras_dnn.models._sampling.random_stream import Stream

layers = keras.layers


def random_layers(
    model: keras.Model, chosen: Sequence[str | keras.layers.Layer] | None = None
) -> list[keras.layers.Layer]:
    """The layers to sample from, wherever in the model they sit.

    Args:
        model: any model.
        chosen: names or layers to choose from them, with all that is inside a chosen
            layer; `None` chooses all with dropout and all inside a `MonteCarlo`.

    Raises:
        ValueError: if a chosen layer is not in the model or has nothing random, or if
            there is nothing random at all.
    """
    possible = stochastic(model)
    wrapped = {
        id(part)
        for layer in sublayers(model)
        if isinstance(layer, MonteCarlo)
        for part in stochastic(layer.layer)
    }
    default = [layer for layer in possible if rates(layer) or id(layer) in wrapped]
    if chosen is None:
        if not default:
            raise ValueError(
                "The model has no layer with dropout, so all its predictions would be "
                f"the same. Received: model={getattr(model, 'name', model)!r}"
            )
        return default
    chosen = _arguments.several("layers", chosen)
    if not chosen:
        raise ValueError(
            f"layers must name at least one layer. Received: layers={chosen!r}"
        )
    return [layer for c in chosen for layer in _inside(c, model, possible)]


def _inside(
    choice: str | keras.layers.Layer, model: keras.Model, random: Sequence[Any]
) -> list[Any]:
    within = {id(layer) for layer in sublayers_of(model, choice)}
    found = [layer for layer in random if id(layer) in within]
    if not found:
        names = [layer.name for layer in random]
        raise ValueError(
            "layers must name layers of the model that have dropout or make noise, "
            f"such as {names}. Received: {choice!r}"
        )
    return found


def settings(layer: Any) -> tuple[float, ...]:
    """The numbers that say how random a layer is; constants of a graph."""
    return (*rates(layer), *noise(layer))


@contextlib.contextmanager
def only(
    on: Sequence[Any], model: keras.Model, stream: Stream | None = None
) -> Iterator[None]:
    """Makes exactly these layers of the model random, drawing from `stream`.

    Their `call` gets `training=True` whatever its caller says, so that nothing else,
    batch norm above all, need leave inference mode. A dropout layer that is not among
    `on` lets everything through, also if its class would always drop. All is put back
    at the end, and no layer draws from its own seed generator.
    """
    chosen = {id(layer) for layer in on}
    stream = stream or Stream()
    with contextlib.ExitStack() as stack:
        for layer in sublayers(model):
            changed: dict[str, Any] = {
                name: stream
                for name, value in vars(layer).items()
                if isinstance(value, keras.random.SeedGenerator)
            }
            if id(layer) in chosen:
                changed["call"] = in_training_mode(layer)
            elif isinstance(layer, DROPOUTS):
                changed["call"] = _identity
            elif isinstance(layer, MonteCarlo):
                changed["call"] = layer.layer
            for name, value in changed.items():
                stack.enter_context(patched(layer, name, value))
        stack.enter_context(_functions_of_streams())
        yield


@contextlib.contextmanager
def _functions_of_streams() -> Iterator[None]:
    """Lets Keras's random functions ask a stream that comes as the seed."""
    with contextlib.ExitStack() as stack:
        module = random_functions()
        for name in ("dropout", "normal", "uniform"):
            function = _or_stream(getattr(module, name), name)
            stack.enter_context(patched(module, name, function))
        yield


def _or_stream(function: Any, name: str) -> Any:
    def drawn(*args: Any, seed: Any = None, **kwargs: Any) -> Tensor:
        if isinstance(seed, Stream):
            return getattr(seed, STREAM_NAMES.get(name, name))(*args, **kwargs)
        return function(*args, seed=seed, **kwargs)

    return drawn


STREAM_NAMES = {"dropout": "drop"}


@contextlib.contextmanager
def unmoved(model: keras.Model) -> Iterator[None]:
    """Puts the states of stateful recurrent layers back at the end."""
    states = [
        state
        for layer in sublayers(model)
        if is_stateful(layer)
        for state in keras.tree.flatten(layer.states)
    ]
    before = [keras.ops.convert_to_numpy(state) for state in states]
    try:
        yield
    finally:
        for state, value in zip(states, before, strict=True):
            state.assign(value)


def is_stateful(layer: Any) -> bool:
    """Whether a layer begins each call where the last one ended."""
    return isinstance(layer, layers.RNN) and bool(layer.stateful)


def _identity(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return inputs
