"""Dropout masks from sixteen random bits.

    y = x / (1 - rate) where bits >= rate * 2^16, else 0

Keras draws a float for each unit, rounds threshold and scale to the dtype of the inputs
(in bfloat16 the mean is off by 0.4%) and lets XLA choose a generator that is some
hundred times slower than necessary on a CPU. Here half of a 32-bit word is compared
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
"""The number of values that sixteen bits can have."""

VECTORIZED = re.compile(r"(^|/)loop_body(_\d+)?(/|$)")
"""The name scopes in which `tf.vectorized_map` traces the function it is given."""

MANTISSA = {"float16": 10, "bfloat16": 7}
"""Bits after the leading one, for dtypes in which the scale must be rounded."""

PHILOX = 1
"""The number of this generator among those of TensorFlow."""


def dropout(
    inputs: Tensor, rate: float, noise_shape: Sequence[int | None] | None, seed: Any
) -> Tensor:
    """Does what `keras.random.dropout` does, or lets a `seed` that can `drop` do it."""
    if hasattr(seed, "drop"):
        return seed.drop(inputs, rate, noise_shape)
    if keras.backend.backend() != "tensorflow":
        return keras.random.dropout(inputs, rate, noise_shape, seed)
    return masked(inputs, rate, _bits(mask_shape(inputs, noise_shape), seed))


def masked(inputs: Tensor, rate: float, bits: Tensor) -> Tensor:
    """Drops where sixteen bits lie below the rate, and scales up the rest.

    Args:
        inputs: a tensor of floats.
        rate: the fraction to drop, in [0, 1].
        bits: uint16 numbers of a shape that broadcasts to the inputs'.
    """
    inputs = tf.convert_to_tensor(inputs)
    threshold = round(rate * LEVELS)
    if threshold == 0:
        return inputs
    if threshold == LEVELS:
        return tf.zeros_like(inputs)
    if inputs.dtype.name in MANTISSA:
        scale = _rounded_scale(rate, bits, inputs.dtype)
    else:
        scale = tf.constant(1 / (1 - rate), inputs.dtype)
    passed = bits >= tf.constant(threshold, tf.uint16)
    return tf.where(passed, inputs * scale, tf.zeros((), inputs.dtype))


def _rounded_scale(rate: float, bits: Tensor, dtype: tf.DType) -> Tensor:
    """1 / (1 - rate) in a dtype that can't represent it, right in the mean.

    Each unit gets one of the two neighbouring numbers, by the bits that also decide
    that it is not dropped.
    """
    exact = 1 / (1 - rate)
    spacing = 2.0 ** (math.floor(math.log2(exact)) - MANTISSA[dtype.name])
    low = math.floor(exact / spacing) * spacing
    fraction_high = (exact - low) / spacing
    first_high = min(round(LEVELS * (1 - (1 - rate) * fraction_high)), LEVELS - 1)
    return tf.where(
        bits >= tf.constant(first_high, tf.uint16),
        tf.constant(low + spacing if fraction_high else low, dtype),
        tf.constant(low, dtype),
    )


def mask_shape(
    inputs: Tensor, noise_shape: Sequence[int | None] | None
) -> list[int | Tensor]:
    """The shape of the mask: integers where they are known, else scalar tensors."""
    inputs = tf.convert_to_tensor(inputs)
    given = [None] * len(inputs.shape) if noise_shape is None else noise_shape
    known = [k if n is None else n for k, n in zip(inputs.shape, given, strict=True)]
    return [tf.shape(inputs)[i] if n is None else n for i, n in enumerate(known)]


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


# Random numbers -----------------------------------------------------------------------


def _bits(shape: Sequence[Any], seed: keras.random.SeedGenerator) -> Tensor:
    """Random uint16 numbers of this shape."""
    drawn = tf.cast(seed.next() % (2**31 - 1), tf.int32)
    count = tf.reduce_prod(tf.stack(shape))
    words = tf.random.stateless_uniform(
        [(count + 1) // 2], drawn, None, None, tf.uint32, alg="philox"
    )
    return tf.reshape(_halves(words)[:count], tf.stack(shape))


def addressed(
    key: Tensor, dtype: tf.DType, first: Any, rows: Any, count: Any, high: Any = 0
) -> Tensor:
    """Random numbers that depend on nothing but a key and their place under it.

    Philox gives 128 bits at each count of its counter, so rows are filled up to that.

    Args:
        key: a uint64 scalar.
        dtype: `tf.uint16` or `tf.uint32` for any bits, `tf.float32` for normal numbers.
        first: the place of the first row.
        rows: how many rows to draw.
        count: numbers in a row.
        high: the upper half of the counter.
    """
    in_one_count = 8 if dtype == tf.uint16 else 4
    counts = tf.cast((count + in_one_count - 1) // in_one_count, tf.int64)
    begin = tf.cast(first, tf.int64) * counts
    counter = tf.cast(tf.stack([begin, tf.cast(high, tf.int64)]), tf.uint64)
    generator = {"key": tf.reshape(key, [1]), "counter": counter, "alg": PHILOX}
    shape = tf.reshape(tf.cast(rows, tf.int64) * counts * 4, [1])
    if dtype == tf.float32:
        drawn = tf.raw_ops.StatelessRandomNormalV2(
            shape=shape, **generator, dtype=tf.float32
        )
    else:
        drawn = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=shape, **generator, dtype=tf.uint32
        )
    if dtype == tf.uint16:
        drawn = _halves(drawn)
    filled = tf.reshape(drawn, [rows, tf.cast(counts, tf.int32) * in_one_count])
    return filled[:, :count]


def _halves(words: Tensor) -> Tensor:
    """32-bit words in a row as twice as many numbers of 16 bits."""
    return tf.reshape(tf.bitcast(words, tf.uint16), [-1])
