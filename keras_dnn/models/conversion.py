"""Copies of a model with its dropout on, or off, at inference."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeAlias

import keras

from keras_dnn._keras.graph import required_graph
from keras_dnn._keras.layers import has_training_argument, seeds_of, sublayers
from keras_dnn._keras.randomness import drawn_seed
from keras_dnn.layers import (
    MCAlphaDropout,
    MCDropout,
    MCGaussianDropout,
    MCSpatialDropout1D,
    MCSpatialDropout2D,
    MCSpatialDropout3D,
    MonteCarlo,
)
from keras_dnn.layers._stochastic import draws, rates, stochastic
from keras_dnn.models._layer_copy import config_of
from keras_dnn.models._rebuilding import CopyOf, rebuilt

layers = keras.layers

ALWAYS_ON = {
    layers.Dropout: MCDropout,
    layers.SpatialDropout1D: MCSpatialDropout1D,
    layers.SpatialDropout2D: MCSpatialDropout2D,
    layers.SpatialDropout3D: MCSpatialDropout3D,
    layers.GaussianDropout: MCGaussianDropout,
    layers.AlphaDropout: MCAlphaDropout,
}


def to_monte_carlo(model: keras.Model) -> keras.Model:
    """Copies a model with its dropout on at inference.

    Each dropout layer becomes the layer of `keras_dnn.layers` that is always on; a
    recurrent or attention layer with dropout, or a layer of your own that contains
    dropout or draws from a `keras.random.SeedGenerator`, is wrapped in `MonteCarlo`.
    Everything else, batch normalisation above all,
    stays in inference mode. For predictions with uncertainty, `mc_predict` is simpler
    and faster; this is for a model that should be random by itself, such as one that is
    to be exported.

    Args:
        model: a functional or Sequential model.

    Returns:
        A copy that shares no weights, with the same names.

    Raises:
        ValueError: if the model has no graph or no dropout.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.models import to_monte_carlo
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)])
        >>> x = np.ones((100, 4))
        >>> y = to_monte_carlo(model).predict(x, verbose=0)
        >>> sorted(set(y.ravel().tolist()))
        [0.0, 2.0]
    """
    required_graph(model)
    if not _is_random_in_training(model):
        raise ValueError(
            "model must have dropout with a rate above 0, or layers that draw from a "
            "keras.random.SeedGenerator of their own; noise is kept on by wrapping its "
            f"layer in MonteCarlo. Received: model={getattr(model, 'name', model)!r}"
        )
    return _Conversion().switched(model, _Conversion.on)


def from_monte_carlo(model: keras.Model) -> keras.Model:
    """Copies a model with its dropout off at inference, as in Keras.

    The opposite of `to_monte_carlo`; a model without layers that are always on is
    copied as it is.

    Args:
        model: a functional or Sequential model.

    Returns:
        A copy that shares no weights, with the same names.

    Raises:
        ValueError: if the model has no graph.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.layers import MCDropout
        >>> from keras_dnn.models import from_monte_carlo
        >>> model = keras.Sequential([keras.Input((4,)), MCDropout(0.5)])
        >>> from_monte_carlo(model).predict(np.ones((1, 4)), verbose=0).tolist()
        [[1.0, 1.0, 1.0, 1.0]]
    """
    return _Conversion().switched(model, _Conversion.off)


class _Conversion:
    """Makes one copy, whose random layers get seeds of their own.

    Two copies of a model must not be random in the same way, unless the user has given
    a seed.
    """

    def __init__(self) -> None:
        self._seeds = random.Random(drawn_seed())
        self._copies: list[keras.layers.Layer] = []

    def switched(self, model: keras.Model, change: _Change) -> keras.Model:
        """A copy of the model with each layer changed, as `on` or `off` does."""
        copy = rebuilt(model, lambda layer: change(self, layer))
        # A copied layer has got the state of its original.
        for layer in self._copies:
            for part in sublayers(layer):
                for generator in seeds_of(part):
                    if generator.get_config()["seed"] is None:
                        generator.state.assign([self._seed(), 0])
        return copy

    def on(self, layer: keras.layers.Layer) -> keras.layers.Layer | CopyOf:
        """What takes a layer's place in a model that is random at inference."""
        if type(layer) in ALWAYS_ON:
            kind = ALWAYS_ON[type(layer)]
            return self._converted(kind, layer) if rates(layer) else layer
        if isinstance(layer, (MonteCarlo, *ALWAYS_ON.values())):
            return layer
        if not _is_random_in_training(layer):
            return layer

        def wrapped(copy: keras.layers.Layer) -> keras.layers.Layer:
            policy = layer.dtype_policy
            return MonteCarlo(self._noted(copy), name=layer.name, dtype=policy)

        return CopyOf(layer, wrapped)

    def off(self, layer: keras.layers.Layer) -> keras.layers.Layer | CopyOf:
        """What takes a layer's place in a model that is not."""
        for off, on in ALWAYS_ON.items():
            if type(layer) is on:
                return self._converted(off, layer)
        if isinstance(layer, MonteCarlo):
            return CopyOf(layer.layer, self._noted)
        return layer

    def _noted(self, copy: keras.layers.Layer) -> keras.layers.Layer:
        self._copies.append(copy)
        return copy

    def _converted(
        self, kind: type[keras.layers.Layer], layer: keras.layers.Layer
    ) -> keras.layers.Layer:
        """A new layer of this class with the layer's configuration."""
        config = config_of(layer)
        if config["seed"] is None:
            config["seed"] = self._seed()
        new: keras.layers.Layer = kind.from_config(config)
        return new

    def _seed(self) -> int:
        return self._seeds.randrange(2**31)


_Change: TypeAlias = Callable[
    [_Conversion, keras.layers.Layer], keras.layers.Layer | CopyOf
]


def _is_random_in_training(layer: Any) -> bool:
    """Whether it has dropout, or a layer of the user's that draws while it trains."""
    return any(
        rates(part) or (draws(part) and has_training_argument(part))
        for part in stochastic(layer)
    )
