"""Autoencoders: reconstruct the inputs from a narrow code or from noisy inputs.

P. Vincent, H. Larochelle, Y. Bengio and P.-A. Manzagol, "Extracting and composing
robust features with denoising autoencoders", 2008.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn.pretraining._encoder import (
    checked,
    decoded,
    encoded,
    new_input,
    numbers_in,
)
from keras_dnn.pretraining._mirrored_decoder import chain, mirror, shapes_of
from keras_dnn.pretraining._models_with_targets import Reconstruction
from keras_dnn.pretraining._random_layers import Noise


def autoencoder(
    encoder: keras.Model,
    decoder: keras.layers.Layer | None = None,
    *,
    noise: float | keras.layers.Layer = 0.0,
    output_activation: Any = None,
    seed: int | None = None,
) -> keras.Model:
    r"""Returns a model that trains an encoder to keep what identifies its inputs.

    $$
    \min_{f, g} \; \mathbb{E}\, L\big(x,\; g(f(x + \epsilon))\big),
    \qquad \epsilon \sim N(0, \text{noise}^2)
    $$

    The encoder $f$ is part of the model, not a copy: `fit(x)` trains it. With noise the
    clean inputs have to be reconstructed, so even a wide encoder cannot just copy them.

    Args:
        encoder: a functional model, or a Sequential that begins with `keras.Input`,
            with one input and one output.
        decoder: a layer or model $g$ that reconstructs the encoder's inputs from its
            outputs; by default the encoder's mirror image, for a chain of dense layers,
            convolutions, poolings, `Flatten` and `Reshape`, with any activations,
            dropouts and norms between them.
        noise: standard deviation of the noise added during training, drawn again at
            each step and on each replica, or a layer that adds noise, such as
            `keras.layers.Dropout(0.3)`.
        output_activation: activation of the default decoder's outputs, such as
            `"sigmoid"` for inputs between 0 and 1; none by default.
        seed: integer seed of the noise.

    Returns:
        A model to compile with any loss between inputs and reconstruction, such as
        `"mse"`, and to train with `fit(x)` or `fit(x, x)`.

    Raises:
        ValueError: if the encoder has no graph, takes anything but floating-point
            numbers or can't be mirrored, if the decoder returns another shape, or if
            `noise` is neither a number of at least 0 nor a layer.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_dnn.models import reuse_layers
        >>> from keras_dnn.pretraining import autoencoder
        >>> dense = keras.layers.Dense
        >>> encoder = keras.Sequential(
        ...     [keras.Input((8,)), dense(4, "relu"), dense(2, name="code")]
        ... )
        >>> model = autoencoder(encoder, noise=0.1)
        >>> model.compile("adam", "mse")
        >>> history = model.fit(np.ones((32, 8)), verbose=0)
        >>> classifier = reuse_layers(encoder, "code", dense(3, "softmax"))
        >>> classifier.output_shape
        (None, 3)

    Reference:
        Vincent, Larochelle, Bengio and Manzagol, "Extracting and composing robust
        features with denoising autoencoders", 2008.
    """
    checked(encoder)
    numbers_in(encoder, "autoencoder")
    decoder = decoder_for(encoder, decoder, output_activation)
    inputs = new_input(encoder)
    noisy = noise_layers(noise, seed)
    x = inputs
    for layer in noisy:
        x = layer(x)
    outputs = decoded(decoder, encoded(encoder, x), encoder)
    return Reconstruction(inputs, outputs, name="autoencoder")


def decoder_for(
    encoder: keras.Model, decoder: Any, output_activation: Any
) -> keras.layers.Layer:
    """The given decoder, or the encoder's mirror image."""
    if decoder is None:
        chained = chain(encoder)
        shapes = shapes_of(chained, encoder.inputs[0].shape[1:])
        return mirror(chained, shapes, output_activation, f"{encoder.name}_mirror")
    if not isinstance(decoder, keras.layers.Layer):
        raise ValueError(
            f"decoder must be a layer or a model. Received: decoder={decoder!r}"
        )
    if output_activation is not None:
        raise ValueError(
            "output_activation must be None where decoder is given. Received: "
            f"output_activation={output_activation!r}"
        )
    return decoder


def noise_layers(noise: Any, seed: int | None) -> list[keras.layers.Layer]:
    """The layer that adds the noise, if there is any."""
    if isinstance(noise, keras.layers.Layer):
        return [noise]
    stddev = _arguments.number("noise", noise, or_else=", or a layer that adds noise")
    return [Noise(stddev, seed=seed, name="noise")] if stddev else []
