"""Masking: reconstruct hidden parts of the inputs.

D. Pathak et al., "Context encoders: feature learning by inpainting", 2016; K. He et
al., "Masked autoencoders are scalable vision learners", 2022.
"""

from __future__ import annotations

import math
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
from keras_dnn.pretraining._models_with_targets import Reconstruction
from keras_dnn.pretraining._random_mask import RandomMask
from keras_dnn.pretraining.autoencoder import decoder_for


def masking(
    encoder: keras.Model,
    decoder: keras.layers.Layer | None = None,
    *,
    mask_ratio: float = 0.5,
    patch: int | None = None,
    value: float = 0.0,
    output_activation: Any = None,
    seed: int | None = None,
) -> keras.Model:
    r"""Returns a model that trains an encoder to reconstruct hidden parts.

    $$
    \hat x = m \odot g\big(f((1 - m) \odot x + m \cdot \text{value})\big)
             + (1 - m) \odot x
    $$

    The mask $m$ hides the same number of patches in each example, with all their
    channels. Outside the mask the model returns the inputs unchanged: only hidden parts
    cause an error, and a loss that is a mean over all positions is the mask ratio times
    the mean over the hidden ones.

    In training, masks are drawn again for each example, at each step and on each
    replica. Otherwise they are always the same, so that a validation loss changes only
    with the model.

    Args:
        encoder: as for `autoencoder`: of features, steps with channels, or images with
            their channels last. It is part of the model, not a copy.
        decoder: as for `autoencoder`.
        mask_ratio: fraction of the patches to hide, above 0 and at most 1; rounded to a
            whole number of patches, at least one.
        patch: side of the patches: 4 for images and 1 for anything else by default.
            The last ones along an axis may be smaller.
        value: value that replaces the hidden parts.
        output_activation: as for `autoencoder`.
        seed: integer seed of the masks.

    Returns:
        A model to compile with any loss between inputs and reconstruction, such as
        `"mse"`, and to train with `fit(x)` or `fit(x, x)`; `predict` reconstructs.

    Raises:
        ValueError: if the encoder has no graph, takes anything but floating-point
            numbers or can't be mirrored, the decoder returns another shape, or a
            number lies outside its range.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_dnn.pretraining import masking
        >>> conv = keras.layers.Conv2D
        >>> encoder = keras.Sequential(
        ...     [keras.Input((8, 8, 1)), conv(4, 3, 2, "same", activation="relu")]
        ... )
        >>> model = masking(encoder, mask_ratio=0.25, patch=2)
        >>> x = np.ones((16, 8, 8, 1), "float32")
        >>> model.compile("adam", "mse")
        >>> history = model.fit(x, verbose=0)
        >>> reconstruction = model.predict(x, verbose=0)
        >>> int((reconstruction[0] != 1).sum())
        16

    Reference:
        Pathak, Krähenbühl, Donahue, Darrell and Efros, "Context encoders: feature
        learning by inpainting", 2016. He et al., "Masked autoencoders are scalable
        vision learners", 2022.
    """
    checked(encoder)
    numbers_in(encoder, "masking")
    decoder = decoder_for(encoder, decoder, output_activation)
    inputs = new_input(encoder)
    images = len(inputs.shape) > 3
    mask = RandomMask(
        _arguments.number("mask_ratio", mask_ratio, high=1.0, bounds="(]"),
        _arguments.count("patch", (4 if images else 1) if patch is None else patch),
        seed=seed,
        name="mask",
    )(inputs)
    number = _arguments.number("value", value, low=-math.inf, bounds="()")
    hidden = keras.ops.where(mask, number, inputs)
    outputs = decoded(decoder, encoded(encoder, hidden), encoder)
    outputs = keras.ops.where(mask, keras.ops.cast(outputs, inputs.dtype), inputs)
    return Reconstruction(inputs, outputs, name="masking")
