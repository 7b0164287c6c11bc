"""Examples grouped by cluster, so that the weights of a cluster are read once.

If weights were gathered for each example, those of a cluster would be copied as often
as it occurs in the batch, and would appear as often in the gradient. Here examples are
sorted by cluster and divided into small blocks, each of one cluster: a batch of N
examples reads the weights of at most C + N / size clusters, whatever the classes are.
"""

from __future__ import annotations

import dataclasses

from keras import ops

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

SIZE = 8
"""Examples in a block: 4 copy more rows, 16 multiply more zeros."""


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The examples of a batch, divided into blocks of one cluster each.

    Attributes:
        clusters: the cluster of each block.
        first: the first block of the cluster of each block.
        examples: the example at each place, of shape blocks × size; arbitrary where the
            place is empty.
        places: the place of each example, counted through all blocks.
    """

    clusters: Tensor
    first: Tensor
    examples: Tensor
    places: Tensor

    def rows(self, table: Tensor) -> Tensor:
        """The row of a table for each block."""
        if tf is None:
            return ops.take(table, self.clusters, axis=0)
        # Not `ops.take`, which reads all of the table first: once rows of a variable
        # have been updated in place, TensorFlow copies it at each such reading.
        rows = tf.gather(getattr(table, "value", table), self.clusters)
        return _with_summed_gradient(rows, self.clusters, self.first)


def checked_classes(classes: Tensor, n_classes: int) -> Tensor:
    """The same classes; on TensorFlow one that does not exist is an error."""
    if tf is None:
        return classes
    wrong = tf.boolean_mask(classes, (classes < 0) | (classes >= n_classes))
    message = (
        f"y_true must hold classes from 0 to {n_classes - 1}; for a label that stands "
        "for padding, give the loss its ignore_class. Received labels:"
    )
    if isinstance(wrong, tf.Tensor) and tf.executing_eagerly():
        if len(wrong):
            raise ValueError(f"{message} {sorted(set(wrong.numpy().tolist()))[:5]}")
        return classes
    right = tf.debugging.Assert(tf.size(wrong) == 0, [message, wrong], summarize=5)
    with tf.control_dependencies([right] if right is not None else []):
        return tf.identity(classes)


def look_up(table: Tensor, indices: Tensor) -> Tensor:
    """Numbers from a short table, which is not read as a whole."""
    return ops.take(table, indices) if tf is None else tf.gather(table, indices)


def in_blocks(cluster: Tensor, n_clusters: int, size: int = SIZE) -> Blocks:
    """Divides examples, given the cluster of each, into blocks of one cluster."""
    n_examples = ops.shape(cluster)[0]
    order = ops.cast(ops.argsort(cluster), "int32")
    cluster = ops.take(ops.cast(cluster, "int32"), order)
    counts = ops.segment_sum(ops.ones_like(cluster), cluster, n_clusters)
    blocks = (counts + size - 1) // size
    ends = ops.cumsum(blocks)
    first, before = ends - blocks, ops.cumsum(counts) - counts
    rank = ops.arange(n_examples, dtype="int32") - ops.take(before, cluster)
    places = ops.take(first, cluster) * size + rank

    most = n_clusters + n_examples // size
    numbers = ops.arange(most, dtype="int32")
    clusters = ops.searchsorted(ends, numbers, side="right")
    clusters = ops.minimum(ops.cast(clusters, "int32"), n_clusters - 1)
    examples = ops.zeros((most * size,), "int32")
    examples = ops.scatter_update(examples, places[:, None], order)
    examples = ops.reshape(examples, (most, size))
    if tf is not None:
        # Not a slice, whose length XLA would have to know.
        used = numbers < ends[-1]
        clusters = tf.boolean_mask(clusters, used)
        examples = tf.boolean_mask(examples, used)
    return Blocks(
        clusters,
        ops.take(first, clusters),
        examples,
        ops.scatter_update(ops.zeros_like(places), order[:, None], places),
    )


def _with_summed_gradient(rows: Tensor, clusters: Tensor, first: Tensor) -> Tensor:
    """Rows whose gradient is summed in the first block of each cluster.

    Keras's optimizers square the parts of a row's gradient before they sum them. In all
    other blocks of the cluster the gradient is zero.
    """
    numbers = tf.range(tf.shape(clusters)[0])
    others = tf.where(numbers != first)
    first_blocks = tf.gather_nd(first, others)[:, tf.newaxis]

    def summed(upstream: Tensor) -> Tensor:
        parts = tf.gather_nd(upstream, others)
        rest = tf.tensor_scatter_nd_update(upstream, others, tf.zeros_like(parts))
        return tf.tensor_scatter_nd_add(rest, first_blocks, parts)

    @tf.custom_gradient
    def summed_backwards(rows: Tensor) -> Tensor:
        def backwards(upstream: Tensor) -> Tensor:
            # Most batches have no such blocks, and a sum copies all rows.
            return tf.cond(
                tf.size(others) > 0, lambda: summed(upstream), lambda: upstream
            )

        return tf.identity(rows), backwards

    return summed_backwards(rows)
