"""Greedy pre-training: one layer at a time, from the bottom.

Y. Bengio, P. Lamblin, D. Popovici and H. Larochelle, "Greedy layer-wise training of
deep networks", 2006.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from keras_dnn._layer_kinds import DROPOUTS, NOISES
from keras_dnn.models.rebuild import rebuild
from keras_dnn.pretraining._encoder import checked, new_input
from keras_dnn.pretraining._mirrored_decoder import (
    WEIGHTED,
    chain,
    mirror,
    shapes_of,
)
from keras_dnn.pretraining._models_with_targets import BELOW, Reconstruction, Stage
from keras_dnn.pretraining.autoencoder import noise_layers


def stacked_autoencoder(
    encoder: keras.Model,
    *,
    noise: float | keras.layers.Layer = 0.0,
    output_activation: Any = None,
    seed: int | None = None,
) -> Iterator[keras.Model]:
    r"""Yields an autoencoder for each layer of an encoder, from the bottom.

    $$
    \min_{f_k, g} \; \mathbb{E}\, L\big(h_{k-1},\; g(f_k(h_{k-1} + \epsilon))\big),
    \qquad h_k = f_k(h_{k-1}), \quad h_0 = x
    $$

    A stage is a dense layer or a convolution with what follows it up to the next one.
    Each model takes the inputs $x$ themselves, computes $h_{k-1}$ with a frozen copy of
    the stages below, as trained by then, and trains its own stage. The stages are the
    encoder's own layers, no copies: after the loop the encoder is trained.

    Args:
        encoder: as for `autoencoder`, one that can be mirrored.
        noise: as for `autoencoder`; of a layer each stage has its own copy.
        output_activation: of the lowest stage's reconstruction, which is of the inputs.
            The others' have none.
        seed: integer seed of the noise.

    Returns:
        An iterator over models to compile and to train by `fit(x)`, each before the
        next is asked for.

    Raises:
        ValueError: if the encoder has no graph or can't be mirrored, if `noise` is
            neither a number of at least 0 nor a layer, or if a stage is asked for
            before the one below was trained.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_dnn.pretraining import stacked_autoencoder
        >>> dense = keras.layers.Dense
        >>> encoder = keras.Sequential(
        ...     [keras.Input((8,)), dense(4, "relu"), dense(2, name="code")]
        ... )
        >>> for stage in stacked_autoencoder(encoder):
        ...     stage.compile("adam", "mse")
        ...     history = stage.fit(np.ones((32, 8)), verbose=0)
        ...     print(stage.name, stage.output_shape)
        stage_1 (None, 8)
        stage_2 (None, 4)

    Reference:
        Bengio, Lamblin, Popovici and Larochelle, "Greedy layer-wise training of deep
        networks", 2006.
    """
    checked(encoder)
    chained = chain(encoder)
    shapes = shapes_of(chained, encoder.inputs[0].shape[1:])
    # Checked here, since an iterator's own body runs only when it is asked.
    mirror(chained, shapes, output_activation, "whole")
    noise_layers(noise, seed)
    return _stages(encoder, chained, shapes, noise, output_activation, seed)


def _stages(
    encoder: keras.Model,
    chained: list[keras.layers.Layer],
    shapes: list[tuple[int, ...]],
    noise: Any,
    output_activation: Any,
    seed: int | None,
) -> Iterator[keras.Model]:
    starts = [i for i, layer in enumerate(chained) if type(layer) in WEIGHTED]
    # What stands before the first layer with weights belongs to it.
    starts[0] = 0
    for number, start in enumerate(starts, 1):
        end = starts[number] if number < len(starts) else len(chained)
        own = keras.Sequential(
            [keras.Input(shapes[start]), *chained[start:end]], name=f"layers_{number}"
        )
        lowest = start == 0
        decoder = mirror(
            chained[start:end],
            shapes[start : end + 1],
            output_activation if lowest else None,
            f"mirror_{number}",
        )
        inputs = new_input(encoder)
        below = inputs
        if not lowest:
            below = _frozen(chained[:start], encoder)(inputs)
        x = below
        for layer in noise_layers(noise, seed):
            x = type(layer).from_config({**layer.get_config(), "name": "noise"})(x)
        kind = Reconstruction if lowest else Stage
        stage = kind(inputs, decoder(own(x)), name=f"stage_{number}")
        yield stage
        _check_trained(stage)


def _frozen(lower: list[keras.layers.Layer], encoder: keras.Model) -> keras.Model:
    """A copy of the lower layers as they are, which nothing moves any more."""
    model = keras.Sequential([new_input(encoder), *lower], name=BELOW)
    noisy = (*DROPOUTS, *NOISES)
    copy = rebuild(model, lambda layer: None if type(layer) in noisy else layer)
    copy.trainable = False
    return copy


def _check_trained(stage: keras.Model) -> None:
    optimizer = getattr(stage, "optimizer", None)
    steps = 0 if optimizer is None else int(optimizer.iterations)
    if not steps:
        raise ValueError(
            "Each stage must be trained before the next one is asked for, which stands "
            f"on it: compile and fit it in the loop. Received: {stage.name!r} untrained"
        )
