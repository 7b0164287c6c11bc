"""Copies of a model with its dropout on, or off, at inference."""

from __future__ import annotations

import random
from typing import Any

import keras

from keras_dnn._keras.graph import required_graph
from keras_dnn._keras.layers import has_training_argument
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
    seeds = random.Random(drawn_seed())
    return rebuilt(model, lambda layer: _switched_on(layer, seeds))


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
    seeds = random.Random(drawn_seed())
    return rebuilt(model, lambda layer: _switched_off(layer, seeds))


def _switched_on(
    layer: keras.layers.Layer, seeds: random.Random
) -> keras.layers.Layer | CopyOf:
    if type(layer) in ALWAYS_ON:
        kind = ALWAYS_ON[type(layer)]
        return _converted(kind, layer, seeds) if rates(layer) else layer
    if isinstance(layer, (MonteCarlo, *ALWAYS_ON.values())):
        return layer
    if not _is_random_in_training(layer):
        return layer
    return CopyOf(
        layer, lambda new: MonteCarlo(new, name=layer.name, dtype=layer.dtype_policy)
    )


def _is_random_in_training(layer: Any) -> bool:
    """Whether it has dropout, or a layer of the user's that draws while it trains."""
    return any(
        rates(part) or (draws(part) and has_training_argument(part))
        for part in stochastic(layer)
    )


def _switched_off(
    layer: keras.layers.Layer, seeds: random.Random
) -> keras.layers.Layer | CopyOf:
    for off, on in ALWAYS_ON.items():
        if type(layer) is on:
            return _converted(off, layer, seeds)
    if isinstance(layer, MonteCarlo):
        return CopyOf(layer.layer)
    return layer


def _converted(
    kind: type[keras.layers.Layer], layer: keras.layers.Layer, seeds: random.Random
) -> keras.layers.Layer:
    """A new layer of this class with the layer's configuration."""
    config = config_of(layer)
    if config["seed"] is None:
        # Two copies of a model must not be random in the same way.
        config["seed"] = seeds.randrange(2**31)
    new: keras.layers.Layer = kind.from_config(config)
    return new
