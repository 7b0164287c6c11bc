"""Greedy pre-training: one layer after another, from the bottom.

Y. Bengio, P. Lamblin, D. Popovici and H. Larochelle, "Greedy layer-wise training of
deep networks", 2006.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from keras_dnn._layer_kinds import DROPOUTS, NOISES
from keras_dnn.models.rebuild import rebuild
from keras_dnn.pretraining._encoder import checked, new_input, numbers_in
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

    A stage is a dense layer or a convolution with everything that follows it before the
    next one. Each model takes the inputs $x$ themselves, computes $h_{k-1}$ with a
    frozen copy of the stages trained before, and trains its own stage. The stages
    consist of the encoder's own layers, not of copies: the loop trains the encoder.

    Args:
        encoder: as for `autoencoder`; it must have a mirror image.
        noise: as for `autoencoder`; each stage gets its own copy of a layer.
        output_activation: activation of the first stage's outputs, which reconstruct
            the inputs. The other stages have none.
        seed: integer seed of the noise.

    Returns:
        An iterator over models to compile and to train with `fit(x)`, each before the
        next is requested.

    Raises:
        ValueError: if the encoder has no graph, takes anything but floating-point
            numbers or can't be mirrored, if `noise` is neither a number of at least 0
            nor a layer, or if a stage is requested before the one below was trained.

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
    numbers_in(encoder, "stacked_autoencoder")
    chained = chain(encoder)
    # Built here, since errors in the body of a generator appear at its first use only.
    parts = list(_parts(chained, encoder.inputs[0].shape[1:], output_activation))
    noise_layers(noise, seed)
    return _stages(encoder, chained, parts, noise, seed)


class _Part(NamedTuple):
    """The layers that a stage trains: where they begin, and their mirror image."""

    start: int
    layers: keras.Sequential
    decoder: keras.Sequential


def _parts(
    chained: list[keras.layers.Layer], shape: tuple[int, ...], output_activation: Any
) -> Iterator[_Part]:
    """Divides the encoder's layers into stages."""
    shapes = shapes_of(chained, shape)
    starts = [i for i, layer in enumerate(chained) if type(layer) in WEIGHTED]
    # Layers before the first one with weights belong to its stage.
    starts[:1] = [0]
    for number, start in enumerate(starts, 1):
        end = starts[number] if number < len(starts) else len(chained)
        decoder = mirror(
            chained[start:end],
            shapes[start : end + 1],
            output_activation if start == 0 else None,
            f"mirror_{number}",
        )
        own = [keras.Input(shapes[start]), *chained[start:end]]
        yield _Part(start, keras.Sequential(own, name=f"layers_{number}"), decoder)


def _stages(
    encoder: keras.Model,
    chained: list[keras.layers.Layer],
    parts: list[_Part],
    noise: Any,
    seed: int | None,
) -> Iterator[keras.Model]:
    for number, part in enumerate(parts, 1):
        first = part.start == 0
        inputs = new_input(encoder)
        features = inputs
        if not first:
            features = _frozen(chained[: part.start], encoder)(inputs)
        for layer in noise_layers(noise, seed):
            config = {**layer.get_config(), "name": "noise"}
            features = type(layer).from_config(config)(features)
        outputs = part.decoder(part.layers(features))
        kind = Reconstruction if first else Stage
        stage = kind(inputs, outputs, name=f"stage_{number}")
        yield stage
        _check_trained(stage)


def _frozen(lower: list[keras.layers.Layer], encoder: keras.Model) -> keras.Model:
    """A copy of the lower layers, without noise, that is not trained any further."""
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
            "Each stage must be trained before the next one is requested, which builds "
            f"on it: compile and fit it in the loop. Received: {stage.name!r} untrained"
        )
