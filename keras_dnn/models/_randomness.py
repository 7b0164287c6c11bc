"""Which layers of a model are random, and how to switch just these on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_dnn._graph import has_training_argument, sublayers, sublayers_of
from keras_dnn._patch import attribute
from keras_dnn._typing import Tensor

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
    if not chosen:
        raise ValueError(
            f"layers must name at least one layer. Received: layers={chosen!r}"
        )
    return [layer for c in chosen for layer in _inside(c, model, random)]


def _inside(
    choice: str | keras.layers.Layer, model: keras.Model, random: Sequence[Any]
) -> list[Any]:
    within = {id(layer) for layer in sublayers_of(model, choice)}
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
    batch norm above all, need leave inference mode. A dropout layer that is not among
    `on` lets everything through, also if its class would always drop. All is put back
    at the end, and no layer draws from its own seed generator.
    """
    chosen = {id(layer) for layer in on}
    with contextlib.ExitStack() as stack:
        for layer in sublayers(model):
            changed: dict[str, Any] = {
                name: seeds
                for name, value in vars(layer).items()
                if isinstance(value, keras.random.SeedGenerator)
            }
            if id(layer) in chosen:
                changed["call"] = _training(layer)
            elif isinstance(layer, DROPOUTS):
                changed["call"] = _identity
            for name, value in changed.items():
                stack.enter_context(attribute(layer, name, value))
        yield


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


def _training(layer: Any) -> Callable[..., Tensor]:
    call = layer.call
    # A dropout of somebody's own may be random without being told to.
    forced = {"training": True} if has_training_argument(layer) else {}

    def in_training_mode(*args: Any, **kwargs: Any) -> Tensor:
        return call(*args, **{**kwargs, **forced})

    return in_training_mode


def _identity(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return inputs
