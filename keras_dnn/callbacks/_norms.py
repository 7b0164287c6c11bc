"""Norms that neither underflow nor overflow."""

from __future__ import annotations

from collections.abc import Sequence

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

# Between these a sum of squares in float32 has lost nothing to either end.
SMALLEST, LARGEST = 1e-30, 1e30


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of each tensor, as one float64 vector.

    A gradient of 1e-25 is what vanishing gradients look like; its square is zero in
    float32. So where a plain sum of squares comes out very small or large, all are
    computed again, scaled by their largest entry. Infinite entries give Inf, NaN NaN.
    """
    if not tensors:
        return tf.zeros((0,), tf.float64)
    tensors = [entries(t) for t in tensors]
    # `l2_loss`, half the sum of squares, reads a tensor once and writes nothing.
    squares = 2.0 * _vector([tf.nn.l2_loss(t) for t in tensors])

    def scaled() -> Tensor:
        largest = _vector([_largest(t) for t in tensors])
        shares = _vector(
            [tf.norm(tf.math.divide_no_nan(t, _largest(t))) for t in tensors]
        )
        finite = tf.where(tf.math.is_inf(largest), largest, largest * shares)
        return tf.where(tf.math.is_nan(squares), squares, finite)

    safe = tf.reduce_all((squares > SMALLEST) & (squares < LARGEST))
    return tf.cond(safe, lambda: tf.sqrt(squares), scaled)


def length(norms: Tensor) -> Tensor:
    """The norm of a whole whose parts have these norms, along the last axis."""
    largest = tf.reduce_max(norms, axis=-1, keepdims=True)
    usable = tf.math.is_finite(largest) & (largest > 0)
    scale = tf.where(usable, largest, tf.ones_like(largest))
    return scale[..., 0] * tf.norm(norms / scale, axis=-1)


def entries(tensor: Tensor) -> Tensor:
    """A tensor as float32 at least; of a sparse one the rows, repeated ones summed."""
    if isinstance(tensor, tf.IndexedSlices):
        _, position = tf.unique(tensor.indices)
        tensor = tf.math.unsorted_segment_sum(
            tensor.values, position, tf.size(tensor.indices)
        )
    tensor = tf.convert_to_tensor(tensor)
    return tensor if tensor.dtype == tf.float64 else tf.cast(tensor, tf.float32)


def _largest(tensor: Tensor) -> Tensor:
    # The largest of no entries at all is the lowest number; it is to be 0.
    return tf.maximum(tf.reduce_max(tf.abs(tensor)), tf.zeros((), tensor.dtype))


def _vector(numbers: Sequence[Tensor]) -> Tensor:
    """Scalars of any type as one float64 vector, with few operations."""
    if len({number.dtype for number in numbers}) > 1:
        numbers = [tf.cast(number, tf.float64) for number in numbers]
    return tf.cast(tf.stack(numbers), tf.float64)
