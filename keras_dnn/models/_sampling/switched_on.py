"""Which layers of a model are sampled from, and what they do in the meantime."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import keras

from keras_dnn import _arguments
from keras_dnn._keras.call_stack import calling_layer
from keras_dnn._keras.layers import (
    has_seeds,
    has_training_argument,
    random_functions,
    seeds_of,
    sublayers,
    sublayers_of,
)
from keras_dnn._keras.patched import patched
from keras_dnn._layer_kinds import DROPOUTS
from keras_dnn._typing import Tensor
from keras_dnn.layers import MonteCarlo
from keras_dnn.layers._stochastic import calls_with, draws, noise, rates, stochastic
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
            layer; `None` chooses all with dropout, all of the user's that draw from a
            generator of their own, and all inside a `MonteCarlo`.

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
    default = [
        layer
        for layer in possible
        if rates(layer) or draws(layer) or id(layer) in wrapped
    ]
    if chosen is None:
        left_off = [part for part in sublayers(model) if _may_be_random(part)]
        if not default:
            raise ValueError(_nothing_random(model, possible, left_off))
        for layer in left_off:
            warnings.warn(f"{_named(layer)} {WITHOUT_GENERATOR}", stacklevel=3)
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


WITHOUT_GENERATOR = (
    "takes `training` but holds no keras.random.SeedGenerator, so it stays off. If it "
    "is random, keep a generator in the layer, as in self.seeds = "
    "keras.random.SeedGenerator(), and draw with seed=self.seeds"
)


def _may_be_random(layer: Any) -> bool:
    """Whether a layer of the user's has a training mode for no other known reason."""
    own = type(layer).__module__.split(".")[0] not in ("keras", "keras_dnn")
    if not own or not has_training_argument(layer) or stochastic(layer):
        return False
    if isinstance(layer, keras.Model):
        return has_seeds(layer)
    return not layer.non_trainable_variables and len(list(sublayers(layer))) == 1


def _nothing_random(
    model: Any, possible: Sequence[Any], left_off: Sequence[Any]
) -> str:
    """Why a model cannot be sampled from, and what to do."""
    name = getattr(model, "name", model)
    remedy = "Give a model that has dropout"
    if left_off:
        remedy = f"{_named(left_off[0])} {WITHOUT_GENERATOR}"
    elif possible:
        names = [layer.name for layer in possible]
        remedy = f"To sample from its noise, give layers={names}"
    return (
        "The model has no layer with dropout, so all its predictions would be the "
        f"same. {remedy}. Received: model={name!r}"
    )


def _named(layer: Any) -> str:
    return f"{type(layer).__name__} {layer.name!r}"


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
    nothing = Stream()
    calls = {id(layer): call for layer, call in calls_with(on)}
    streams: dict[int, Stream] = {}
    refused: list[str] = []
    with contextlib.ExitStack() as stack:
        for layer in sublayers(model):
            source = stream if stream and id(layer) in chosen else nothing
            changed: dict[str, Any] = {
                name: source
                for name, value in vars(layer).items()
                if isinstance(value, keras.random.SeedGenerator)
            }
            if id(layer) in chosen:
                changed["call"] = calls[id(layer)]
            elif isinstance(layer, DROPOUTS):
                changed["call"] = _identity
            elif isinstance(layer, MonteCarlo):
                changed["call"] = layer.layer
            elif id(layer) in calls:
                changed["call"] = calls[id(layer)]
            for generator in seeds_of(layer):
                if streams.get(id(generator), nothing) is nothing:
                    streams[id(generator)] = source
                    stack.enter_context(patched(generator, "next", source.next))
            for name, value in changed.items():
                stack.enter_context(patched(layer, name, value))
        module = random_functions()
        for name in RANDOM_FUNCTIONS:
            function = _asking_streams(getattr(module, name), name, streams, refused)
            stack.enter_context(patched(module, name, function))
        try:
            yield
        except Exception as error:
            if refused:
                # Without what Keras adds to an error inside a layer.
                raise ValueError(refused[0]) from error
            raise


RANDOM_FUNCTIONS = (
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
)
"""The functions of `keras.random`."""

WITH_ADDRESSES = {"dropout": "drop", "normal": "normal", "uniform": "uniform"}
"""Those that a stream has a method for; others only take their seeds from it."""


def _asking_streams(
    function: Any, name: str, streams: Mapping[int, Stream], refused: list[str]
) -> Any:
    """A random function of Keras that lets a stream, given as the seed, draw.

    Args:
        function: of Keras.
        name: of the function.
        streams: what draws in place of each generator of the model, by its `id`.
        refused: where to leave the sentence that refuses a draw without a seed.
    """

    def drawn(*args: Any, seed: Any = None, **kwargs: Any) -> Tensor:
        if seed is None:
            refused.append(_without_a_seed(name))
            raise ValueError(refused[0])
        seed = streams.get(id(seed), seed)
        if isinstance(seed, Stream) and name in WITH_ADDRESSES:
            return getattr(seed, WITH_ADDRESSES[name])(*args, **kwargs)
        return function(*args, seed=seed, **kwargs)

    return drawn


def _without_a_seed(function: str) -> str:
    layer = calling_layer()
    name = "The model" if layer is None else _named(layer)
    return (
        f"{name} calls keras.random.{function} without a seed, so its numbers could "
        "not be drawn for each sample. Keep a generator in the layer, as in self.seeds "
        "= keras.random.SeedGenerator(), and give it as seed=self.seeds"
    )


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


def _identity(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return inputs
