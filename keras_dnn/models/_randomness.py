"""Which layers of a model are random, and how to switch just these on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_dnn._typing import Tensor
from keras_dnn.layers import MCDropout
from keras_dnn.models._graph import sublayers

layers = keras.layers

# These do nothing but drop; they may have been told never to.
DROPOUTS = (layers.Dropout, layers.GaussianDropout, layers.AlphaDropout)

# These drop inside; in training mode they do nothing else that inference does not.
WITH_DROPOUT = (
    layers.Attention,
    layers.ConvLSTM1D,
    layers.ConvLSTM2D,
    layers.ConvLSTM3D,
    layers.GRU,
    layers.GRUCell,
    layers.LSTM,
    layers.LSTMCell,
    layers.SimpleRNN,
    layers.SimpleRNNCell,
)


def random_layers(
    model: keras.Model, chosen: Sequence[str | keras.layers.Layer] | None = None
) -> list[keras.layers.Layer]:
    """The layers to sample from, wherever in the model they sit.

    Args:
        model: any model.
        chosen: names or layers to choose from them, with all that is inside a chosen
            layer; `None` chooses all.

    Raises:
        ValueError: if a chosen layer is not in the model or has nothing random, or if
            there is nothing random at all.
    """
    random = [layer for layer in sublayers(model) if rates(layer)]
    if not random:
        raise ValueError(
            "The model has no layer with dropout, so all its predictions would be the "
            f"same. Received: model={model.name!r}"
        )
    if chosen is None:
        return random
    return [layer for c in chosen for layer in _inside(c, model, random)]


def _inside(
    choice: str | keras.layers.Layer, model: keras.Model, random: Sequence[Any]
) -> list[Any]:
    within = {
        id(sublayer)
        for layer in sublayers(model)
        if choice is layer or choice == layer.name
        for sublayer in sublayers(layer)
    }
    found = [layer for layer in random if id(layer) in within]
    if not found:
        names = [layer.name for layer in random]
        raise ValueError(
            f"layers must name layers of the model that have dropout, such as {names}. "
            f"Received: {choice!r}"
        )
    return found


def rates(layer: Any) -> tuple[float, ...]:
    """The dropout rates of a layer itself that are not zero."""
    names: tuple[str, ...] = ()
    if isinstance(layer, DROPOUTS):
        names = ("rate",)
    elif isinstance(layer, WITH_DROPOUT):
        names = ("dropout", "recurrent_dropout")
    found = (getattr(layer, name, 0.0) for name in names)
    return tuple(rate for rate in found if rate)


@contextlib.contextmanager
def only(
    on: Sequence[Any], model: keras.Model, seeds: keras.random.SeedGenerator
) -> Iterator[None]:
    """Makes exactly these layers of the model random, drawing from `seeds`.

    Their `call` gets `training=True` whatever its caller says, so that nothing else,
    batch norm above all, need leave inference mode. Layers that are always on are
    switched off unless they are among `on`. All is put back at the end; the layers'
    own seed generators are not touched.
    """
    chosen = {id(layer) for layer in on}
    with contextlib.ExitStack() as stack:
        for layer in sublayers(model):
            if id(layer) in chosen:
                stack.enter_context(_attribute(layer, "call", _training(layer.call)))
                if "seed_generator" in vars(layer):
                    stack.enter_context(_attribute(layer, "seed_generator", seeds))
            elif isinstance(layer, MCDropout):
                stack.enter_context(_attribute(layer, "call", _identity))
        yield


def _training(call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def in_training_mode(*args: Any, **kwargs: Any) -> Tensor:
        return call(*args, **{**kwargs, "training": True})

    return in_training_mode


def _identity(inputs: Tensor, training: bool | None = None) -> Tensor:
    return inputs


@contextlib.contextmanager
def _attribute(layer: Any, name: str, value: Any) -> Iterator[None]:
    # Not by `setattr`, which would have Keras track the value as a part of the layer.
    held = vars(layer)
    before = held.get(name)
    held[name] = value
    try:
        yield
    finally:
        if before is None:
            del held[name]
        else:
            held[name] = before
