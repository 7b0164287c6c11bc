"""Gradients, dense or sparse, before a rule uses them."""

from __future__ import annotations

from collections.abc import Sequence

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor


def is_sparse(gradient: Tensor) -> bool:
    """Whether a gradient names the rows it is for, as an embedding's does."""
    return isinstance(gradient, tf.IndexedSlices)


def with_values(gradient: Tensor, values: Tensor) -> Tensor:
    """A sparse gradient with other values in the same rows."""
    return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)


def sum_repeated_rows(gradient: Tensor) -> Tensor:
    """Sums the rows that a sparse gradient names several times.

    An embedding's gradient names a row once for each use, but norms and squares must be
    those of the sum.
    """
    rows, position = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, position, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def named_rows(gradient: Tensor) -> Tensor:
    """For each row of a table, whether a sparse gradient names it."""
    rows = tf.convert_to_tensor(gradient.dense_shape)[0]
    indices = tf.convert_to_tensor(gradient.indices)
    return tf.tensor_scatter_nd_update(
        tf.fill([rows], False),
        indices[:, tf.newaxis],
        tf.fill(tf.shape(indices), True),
    )


def divide(gradient: Tensor, divisor: float) -> Tensor:
    """Divides a gradient, dense or sparse, by a number."""
    if is_sparse(gradient):
        return with_values(gradient, gradient.values / divisor)
    return gradient / divisor


def values_of(gradient: Tensor) -> Tensor:
    """The values of a gradient, dense or sparse."""
    return gradient.values if is_sparse(gradient) else gradient


def all_finite(gradients: Sequence[Tensor]) -> Tensor:
    """Whether no gradient contains NaN or Inf."""
    finite = [tf.reduce_all(tf.math.is_finite(values_of(g))) for g in gradients]
    return tf.reduce_all(tf.stack(finite))
