"""Histograms that are counted inside the graph."""

from __future__ import annotations

import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

BINS = 64
SIZE = 2 + BINS
"""Numbers that describe one histogram: two ends, then the counts."""


def histogram(values: Tensor) -> Tensor:
    """The least and the largest finite value, and the counts in bins between them.

    If all values are equal, or none is finite, the bins together are 1 wide.
    """
    values = tf.cast(tf.reshape(values, [-1]), tf.float64)
    finite = tf.math.is_finite(values)
    largest = tf.constant(np.finfo("float64").max, tf.float64)
    low = tf.reduce_min(tf.where(finite, values, largest))
    high = tf.reduce_max(tf.where(finite, values, -largest))
    none = low > high
    middle = tf.where(none, tf.zeros_like(low), low)
    wide = low < high
    low, high = tf.where(wide, low, middle - 0.5), tf.where(wide, high, middle + 0.5)
    # Halved first, because the difference of the ends may be infinite.
    fraction = (values / 2 - low / 2) / (high / 2 - low / 2)
    place = tf.cast(tf.where(finite, fraction, 0.0) * BINS, tf.int32)
    counts = tf.math.unsorted_segment_sum(
        tf.cast(finite, tf.float64), tf.clip_by_value(place, 0, BINS - 1), BINS
    )
    return tf.concat([[low, high], counts], axis=0)


def counts_and_edges(histograms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Results of `histogram`, of shape `(..., SIZE)`, as counts and edges of bins."""
    low, high, counts = histograms[..., 0], histograms[..., 1], histograms[..., 2:]
    return counts.astype("int64"), np.linspace(low, high, BINS + 1, axis=-1)
