"""Dropout masks from sixteen random bits.

Keras draws a float for each mask entry, rounds threshold and scale to the dtype of the
inputs (in bfloat16 the mean is off by 0.4 %) and lets XLA choose a generator that is
some hundred times slower than need be on a CPU. Here half of a 32-bit word is compared
with a threshold: the rate is right to 2^-17 in every dtype, and so is the mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

LEVELS = 2**16
"""How many values sixteen bits have."""

VECTORIZED = re.compile(r"(^|/)loop_body(_\d+)?(/|$)")
"""The name scopes in which `tf.vectorized_map` traces what it is given."""

MANTISSA = {"float16": 10, "bfloat16": 7}
"""Bits behind the leading one, of dtypes in which the scale must be rounded."""


def dropout(
    inputs: Tensor, rate: float, noise_shape: Sequence[int | None] | None, seed: Any
) -> Tensor:
    """What `keras.random.dropout` promises; a `seed` that can `drop` does it itself."""
    if hasattr(seed, "drop"):
        return seed.drop(inputs, rate, noise_shape)
    if keras.backend.backend() != "tensorflow":
        return keras.random.dropout(inputs, rate, noise_shape, seed)
    return masked(inputs, rate, _bits(mask_shape(inputs, noise_shape), seed))


def refuse_vectorized(layer: Any) -> None:
    """Raises inside `tf.vectorized_map`: it would draw once for all its calls."""
    if keras.backend.backend() != "tensorflow":
        return
    scope = tf.get_current_name_scope()
    if VECTORIZED.search(scope):
        raise RuntimeError(
            f"{type(layer).__name__} can't be random inside tf.vectorized_map, which "
            "draws once, so that all its calls would be the same sample. Use "
            "keras_dnn.models.mc_predict, which is as fast, or tf.map_fn. "
            f"Received: the layer {layer.name!r} in the name scope {scope!r}"
        )


def mask_shape(
    inputs: Tensor, noise_shape: Sequence[int | None] | None
) -> list[int | Tensor]:
    """The shape of the mask: integers where they are known, else scalar tensors."""
    inputs = tf.convert_to_tensor(inputs)
    given = [None] * len(inputs.shape) if noise_shape is None else noise_shape
    known = [k if n is None else n for k, n in zip(inputs.shape, given, strict=True)]
    return [tf.shape(inputs)[i] if n is None else n for i, n in enumerate(known)]


def masked(inputs: Tensor, rate: float, bits: Tensor) -> Tensor:
    """Drops where sixteen bits lie below `rate`, scaling up what is kept.

    Args:
        inputs: a tensor of floats.
        rate: share to drop, in [0, 1].
        bits: uint16 numbers of a shape that spreads to the inputs'.
    """
    inputs = tf.convert_to_tensor(inputs)
    threshold = round(rate * LEVELS)
    if threshold == 0:
        return inputs
    if threshold == LEVELS:
        return tf.zeros_like(inputs)
    kept = bits >= tf.constant(threshold, tf.uint16)
    scaled = inputs * _scale(rate, bits, inputs.dtype)
    return tf.where(kept, scaled, tf.zeros((), inputs.dtype))


def _scale(rate: float, bits: Tensor, dtype: tf.DType) -> Tensor:
    """What kept entries are multiplied by.

    A dtype that can't hold it gets one of its two neighbours, by the bits that say
    that an entry is kept, such that the mean is right.
    """
    exact = 1 / (1 - rate)
    if dtype.name not in MANTISSA:
        return tf.constant(exact, dtype)
    spacing = 2.0 ** (math.floor(math.log2(exact)) - MANTISSA[dtype.name])
    low = math.floor(exact / spacing) * spacing
    high_share = (exact - low) / spacing
    first_high = min(round(LEVELS * (1 - (1 - rate) * high_share)), LEVELS - 1)
    return tf.where(
        bits >= tf.constant(first_high, tf.uint16),
        tf.constant(low + spacing if high_share else low, dtype),
        tf.constant(low, dtype),
    )


def _bits(shape: Sequence[Any], seed: keras.random.SeedGenerator) -> Tensor:
    """Random uint16 numbers of this shape."""
    drawn = tf.cast(seed.next() % (2**31 - 1), tf.int32)
    count = tf.reduce_prod(tf.stack(shape))
    words = tf.random.stateless_uniform(
        [(count + 1) // 2], drawn, None, None, tf.uint32, alg="philox"
    )
    return tf.reshape(halves(words)[:count], tf.stack(shape))


def halves(words: Tensor) -> Tensor:
    """32-bit words in a row as twice as many numbers of 16 bits."""
    return tf.reshape(tf.bitcast(words, tf.uint16), [-1])
