"""A table that the training step writes and the host reads."""

from __future__ import annotations

import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

ROWS = 256


class Table:
    """Rows of float64 numbers, written inside the graph, one a step.

    Args:
        columns: how many numbers a row holds.
        steps_per_call: how many steps run before the host can look.
        rows: how many are kept in the graph before the host fetches them.
    """

    def __init__(self, columns: int, steps_per_call: int, rows: int = ROWS) -> None:
        self._size = rows
        self._steps_per_call = steps_per_call
        self._rows_to_come = 0
        self._rows = variable((rows + steps_per_call, columns))
        self._count = variable((), "int64")

    def write(self, row: Tensor, keep: Tensor | bool = True) -> None:
        """Writes a row; the next one overwrites it if it is not to be kept."""
        # The table is fetched before it is full. Were it ever not, the last row would
        # be lost, but training would go on.
        place = tf.minimum(self._count, self._rows.shape[0] - 1)
        if isinstance(self._rows, tf.distribute.DistributedValues):
            rows = tf.convert_to_tensor(self._rows)
            self._rows.assign(tf.tensor_scatter_nd_update(rows, [[place]], [row]))
        else:
            # In place: the whole table is more than a small step moves.
            self._rows.scatter_nd_update([[place]], [row])
        # A step that failed before it had a row is not counted.
        with tf.control_dependencies([row]):
            self._count.assign_add(tf.cast(keep, tf.int64))

    def called(self) -> bool:
        """Counts a call of the training function; whether it is time to fetch."""
        self._rows_to_come += self._steps_per_call
        return self._rows_to_come > self._size

    def fetch(self) -> np.ndarray:
        """Takes the rows out of the graph."""
        # Also where they are wanted while some other graph is traced.
        with tf.init_scope():
            count = int(self._count.read_value())
            rows: np.ndarray = self._rows.read_value().numpy()[:count]
            self._count.assign(0)
        self._rows_to_come = 0
        return rows


def variable(shape: tuple[int, ...], dtype: str = "float64") -> Tensor:
    """A variable of zeros that every replica writes to."""
    # They write what all agree on, so that any one can be read.
    return tf.Variable(
        tf.zeros(shape, dtype),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
