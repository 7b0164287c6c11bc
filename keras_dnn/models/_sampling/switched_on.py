"""Which layers of a model are sampled from, and what they do in the meantime."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import keras

from keras_dnn import _arguments
from keras_dnn._keras.layers import random_functions, sublayers, sublayers_of
from keras_dnn._keras.patched import patched
from keras_dnn._layer_kinds import DROPOUTS
from keras_dnn._typing import Tensor
from keras_dnn.layers import MonteCarlo
from keras_dnn.layers._stochastic import in_training_mode, noise, rates, stochastic
from keras_dnn.models._sampling.random_stream import Stream

Pair: TypeAlias = tuple[keras.layers.Dropout, keras.layers.Dense]
"""A dropout layer, and the dense layer that alone takes its outputs."""


def random_layers(
    model: keras.Model, chosen: Sequence[str | keras.layers.Layer] | None = None
) -> list[keras.layers.Layer]:
    """The layers to sample from, wherever in the model they are.

    Args:
        model: any model.
        chosen: names or layers to choose from them, with everything inside a chosen
            layer; `None` chooses all with dropout and all inside a `MonteCarlo`.

    Raises:
        ValueError: if a chosen layer is not in the model or has nothing random, or if
            the model has nothing random at all.
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
    """The numbers that say how random a layer is, which a compiled graph holds."""
    return (*rates(layer), *noise(layer))


@contextlib.contextmanager
def only(
    on: Sequence[Any], model: keras.Model, stream: Stream | None = None
) -> Iterator[None]:
    """Makes exactly these layers of the model random, drawing from `stream`.

    Their `call` gets `training=True` whatever its caller says, so that nothing else,
    batch norm above all, has to leave inference mode. A dropout layer that is not among
    `on` passes its inputs on, even if its class would always drop. Everything is
    restored at the end, and no layer draws from its own seed generator.
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
        module = random_functions()
        for name in ("dropout", "normal", "uniform"):
            function = _asking_streams(getattr(module, name), name)
            stack.enter_context(patched(module, name, function))
        yield


def _asking_streams(function: Any, name: str) -> Any:
    """A random function of Keras that lets a stream, given as the seed, draw."""

    def drawn(*args: Any, seed: Any = None, **kwargs: Any) -> Tensor:
        if isinstance(seed, Stream):
            method = "drop" if name == "dropout" else name
            return getattr(seed, method)(*args, **kwargs)
        return function(*args, seed=seed, **kwargs)

    return drawn


@contextlib.contextmanager
def masks_in_weights(pairs: Sequence[Pair], stream: Stream) -> Iterator[None]:
    r"""Applies masks that all inputs share to weights in place of inputs.

    With one mask $m$ for all inputs, $(x \odot m) W = x \, (m \odot W)$, and there are
    fewer weights than numbers in many rows of inputs.

    Args:
        pairs: dropout layers and the dense layers that take their outputs.
        stream: where to draw the masks.
    """
    with contextlib.ExitStack() as stack:
        for dropout, dense in pairs:
            masks: list[Tensor] = []
            drawing = _drawing_only(dropout, stream, masks)
            stack.enter_context(patched(dropout, "call", drawing))
            stack.enter_context(patched(dense, "call", _with_mask(dense, masks)))
        yield


def _drawing_only(
    dropout: keras.layers.Dropout, stream: Stream, masks: list[Tensor]
) -> Callable[..., Tensor]:
    def call(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        shape = [1, *inputs.shape[1:]]
        masks.append(stream.shared_mask(shape, dropout.rate, inputs.dtype))
        return inputs

    return call


def _with_mask(dense: keras.layers.Dense, masks: list[Tensor]) -> Callable[..., Tensor]:
    def call(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        mask = keras.ops.reshape(masks.pop(), (-1, 1))
        outputs = keras.ops.matmul(inputs, dense.kernel * mask)
        if dense.bias is not None:
            outputs = keras.ops.add(outputs, dense.bias)
        return outputs if dense.activation is None else dense.activation(outputs)

    return call


@contextlib.contextmanager
def unmoved(model: keras.Model) -> Iterator[None]:
    """Restores the states of stateful recurrent layers at the end."""
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
    return isinstance(layer, keras.layers.RNN) and bool(layer.stateful)


def _identity(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return inputs
