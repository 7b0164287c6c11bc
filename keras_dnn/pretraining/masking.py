"""Masking: fill in what was hidden.

D. Pathak et al., "Context encoders: feature learning by inpainting", 2016; K. He et
al., "Masked autoencoders are scalable vision learners", 2022.
"""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn.pretraining._encoder import checked, decoded, new_input
from keras_dnn.pretraining._models_with_targets import Reconstruction
from keras_dnn.pretraining._random_mask import RandomMask
from keras_dnn.pretraining.autoencoder import decoder_for


def masking(
    encoder: keras.Model,
    decoder: keras.layers.Layer | None = None,
    *,
    share: float = 0.5,
    patch: int | None = None,
    value: float = 0.0,
    output_activation: Any = None,
    seed: int | None = None,
) -> keras.Model:
    r"""Returns a model that trains an encoder to fill in what is hidden from it.

    $$
    \hat x = m \odot g\big(f((1 - m) \odot x + m \cdot \text{value})\big)
             + (1 - m) \odot x
    $$

    The mask $m$ covers the same number of places in each example, with all their
    channels. Outside it the model gives the inputs as they are: only what was hidden
    makes an error, and a loss that is a mean over all places is the share times the
    mean over the hidden ones.

    While training, masks are drawn anew for each example, at each step and on each
    replica. Otherwise they are always the same, so that a validation loss moves only
    with the model.

    Args:
        encoder: as for `autoencoder`: of features, steps with channels, or images with
            their channels last. It is part of the model, no copy.
        decoder: as for `autoencoder`.
        share: of the patches to hide, above 0 and at most 1; a whole number of them,
            at least one.
        patch: side of the patches, in places: 4 for images and 1 for anything else by
            default. At the far ends they may be cut off.
        value: what stands in the hidden places.
        output_activation: as for `autoencoder`.
        seed: integer seed of the masks.

    Returns:
        A model to compile with any loss between inputs and reconstruction, such as
        `"mse"`, and to train by `fit(x)` or `fit(x, x)`; `predict` fills in.

    Raises:
        ValueError: if the encoder has no graph or can't be mirrored, the decoder gives
            another shape, or a number lies outside its range.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_dnn.pretraining import masking
        >>> conv = keras.layers.Conv2D
        >>> encoder = keras.Sequential(
        ...     [keras.Input((8, 8, 1)), conv(4, 3, 2, "same", activation="relu")]
        ... )
        >>> model = masking(encoder, share=0.25, patch=2)
        >>> x = np.ones((16, 8, 8, 1), "float32")
        >>> model.compile("adam", "mse")
        >>> history = model.fit(x, verbose=0)
        >>> filled_in = model.predict(x, verbose=0)
        >>> int((filled_in[0] != 1).sum())
        16

    Reference:
        Pathak, Krähenbühl, Donahue, Darrell and Efros, "Context encoders: feature
        learning by inpainting", 2016. He et al., "Masked autoencoders are scalable
        vision learners", 2022.
    """
    checked(encoder)
    decoder = decoder_for(encoder, decoder, output_activation)
    inputs = new_input(encoder)
    images = len(inputs.shape) > 3
    mask = RandomMask(
        _arguments.number("share", share, high=1.0, bounds="(]"),
        _arguments.count("patch", (4 if images else 1) if patch is None else patch),
        seed=seed,
        name="mask",
    )(inputs)
    number = _arguments.number("value", value, low=-math.inf, bounds="()")
    hidden = keras.ops.where(mask, number, inputs)
    outputs = decoded(decoder, encoder(hidden), encoder)
    outputs = keras.ops.where(mask, keras.ops.cast(outputs, inputs.dtype), inputs)
    return Reconstruction(inputs, outputs, name="masking")
