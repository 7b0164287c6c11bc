"""Rows of numbers that the training step writes and the host reads."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._probe.training_step import TrainingStep

CAPACITY = 256
"""Rows that the step's buffer holds before the host fetches them."""

PIECES = 32
"""How often rows are fetched before they are joined: joining copies all there are."""


class StepRows:
    """Rows of float64 numbers, written inside the graph, at most one a step.

    Args:
        width: how many numbers a row holds.
        receive: what takes the fetched rows; by default they are kept in `rows`.
        capacity: how many rows the graph keeps before the host fetches them.
    """

    def __init__(
        self,
        width: int,
        *,
        receive: Callable[[np.ndarray], None] | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        self.width = width
        self._receive = receive or self._keep
        self._capacity = capacity
        self._pieces = [np.empty((0, width))]
        self._buffer: Tensor = None
        self._count: Tensor = None

    @property
    def rows(self) -> np.ndarray:
        """All rows so far, of shape `(rows, width)`."""
        self.fetch()
        self._pieces = [np.concatenate(self._pieces)]
        return self._pieces[0]

    def _keep(self, rows: np.ndarray) -> None:
        self._pieces.append(rows)
        if len(self._pieces) > PIECES:
            self._pieces = [np.concatenate(self._pieces)]

    # Traced into the training step ----------------------------------------------------

    def write(self, row: Tensor, keep: Tensor | bool = True) -> None:
        """Writes a row; the next one overwrites it unless it is kept."""
        # Past its end, which fetching in time prevents, the last row is overwritten.
        place = tf.minimum(self._count, self._buffer.shape[0] - 1)
        if isinstance(self._buffer, tf.distribute.DistributedValues):
            rows = tf.convert_to_tensor(self._buffer)
            self._buffer.assign(tf.tensor_scatter_nd_update(rows, [[place]], [row]))
        else:
            # In place: the whole buffer is more than a small step moves.
            self._buffer.scatter_nd_update([[place]], [row])
        # A step that failed before it had a row is not counted.
        with tf.control_dependencies([row]):
            self._count.assign_add(tf.cast(keep, tf.int64))

    # On the host ----------------------------------------------------------------------

    def open(self, steps_per_call: int, rows_per_step: int = 1) -> None:
        """Creates the buffer for one `fit`.

        Args:
            steps_per_call: how many steps run between two chances to fetch.
            rows_per_step: how many rows a step may write; one that the user wrote may
                update the weights more than once.
        """
        self.close()
        self._rows_per_call = steps_per_call * rows_per_step
        size = self._capacity + self._rows_per_call
        self._buffer = step_variable((size, self.width))
        self._count = step_variable((), "int64")
        self._most_rows = 0

    def close(self) -> None:
        """Fetches the last rows and frees the buffer."""
        self.fetch()
        self._buffer = self._count = None

    def after_call(self) -> None:
        """Fetches the rows if the next call of the training function might not fit."""
        if self._buffer is None:
            return
        self._most_rows += self._rows_per_call
        if self._most_rows > self._capacity:
            self.fetch()

    def fetch(self) -> None:
        """Takes the rows out of the graph."""
        if self._buffer is None:
            return
        # Also where they are wanted while some other graph is traced.
        with tf.init_scope():
            count = int(self._count.read_value())
            rows: np.ndarray = self._buffer.read_value().numpy()[:count]
            self._count.assign(0)
        self._most_rows = 0
        if count > len(rows):
            warnings.warn(
                f"{count - len(rows)} rows of a probe are lost. A probe that overrides "
                "on_train_batch_end must call super().on_train_batch_end(batch, logs); "
                "a train_step that updates many times needs a smaller "
                "steps_per_execution.",
                stacklevel=2,
            )
        if count:
            self._receive(rows)


@dataclasses.dataclass
class Entries:
    """What hooks have put into a record's row for the step that is being traced.

    Attributes:
        put: places in the row, and the values for them.
        pending: whether some were put into a variable, inside a condition.
    """

    put: list[tuple[list[int], Tensor]] = dataclasses.field(default_factory=list)
    pending: bool = False


class Record:
    """Rows of numbers, one for each update, that a probe writes in the training step.

    `Probe.add_record` makes one. Hooks put numbers into the row of the update at hand,
    all at once or some in each hook; what no hook has put is NaN. The row is kept when
    the weights have been updated: under gradient accumulation there is one for several
    batches, and none for an update that was left out. It is right in all modes of
    `fit`: jit-compiled, in blocks of `steps_per_execution`, on replicas and where the
    optimizer updates inside a condition.

    Args:
        width: how many numbers a row holds.
        every: keep the rows of each `every`-th update only.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.callbacks import Probe
        >>> class BiasMean(Probe):
        ...     def create(self, variables):
        ...         self.record = self.add_record(1)
        ...
        ...     def after_update(self, step):
        ...         bias = step.variables[-1]
        ...         self.record.put(step, [keras.ops.mean(bias)])
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.SGD(0.5), "mae")
        >>> probe = BiasMean()
        >>> history = model.fit(
        ...     np.zeros((4, 3)), np.ones(4), batch_size=2, verbose=0, callbacks=[probe]
        ... )
        >>> probe.record.steps
        array([0, 1])
        >>> probe.record.values
        array([[0.5],
               [1. ]])
    """

    def __init__(self, width: int, every: int = 1) -> None:
        self.width = width
        self.every = every
        self._rows = StepRows(1 + width)
        self._pending: Tensor = None

    @property
    def steps(self) -> np.ndarray:
        """The number of each row's update, counted from 0, of shape `(rows,)`."""
        return self._rows.rows[:, 0].astype("int64")

    @property
    def values(self) -> np.ndarray:
        """The numbers, of shape `(rows, width)`, in float64."""
        return self._rows.rows[:, 1:]

    def put(
        self,
        step: TrainingStep,
        values: Tensor | Sequence[Tensor],
        indices: Sequence[int] | None = None,
    ) -> None:
        """Puts numbers into the row of this step; call it from a hook.

        Args:
            step: what the hook was given.
            values: a vector, or a list of scalars.
            indices: the places in the row; by default all of them.

        Raises:
            ValueError: if there are not as many values as places.
        """
        if isinstance(values, list | tuple):
            values = tf.stack([tf.cast(value, tf.float64) for value in values])
        values = tf.cast(values, tf.float64)
        places = list(range(self.width) if indices is None else indices)
        if values.shape != (len(places),):
            raise ValueError(
                f"values must hold a number for each of {len(places)} places. "
                f"Received: values of shape {tuple(values.shape)}"
            )
        entries = step.entries.setdefault(self, Entries())
        if not step.nested:
            entries.put.append((places, values))
            return
        # No tensor leaves the condition, but what a variable holds does.
        entries.pending = True
        pending = tf.convert_to_tensor(self._pending)
        self._pending.assign(_replaced(pending, places, values))

    def _create(self) -> StepRows:
        """Creates what the steps of one `fit` write to."""
        self._pending = step_variable((self.width,), value=np.nan)
        return self._rows

    def _write(self, step: TrainingStep) -> None:
        """Writes what the hooks have put into the row of this step."""
        entries = step.entries[self]
        row = nothing = tf.fill((self.width,), tf.constant(np.nan, tf.float64))
        if entries.pending:
            row = tf.convert_to_tensor(self._pending)
            self._pending.assign(nothing)
        for places, values in entries.put:
            all_of_them = places == list(range(self.width))
            row = values if all_of_them else _replaced(row, places, values)
        keep = step.updated
        if self.every > 1:
            keep &= step.number % self.every == 0
        number = tf.cast(step.number, tf.float64)
        self._rows.write(tf.concat([[number], row], 0), keep)


def step_variable(
    shape: Sequence[int], dtype: str = "float64", value: float = 0
) -> Tensor:
    """A variable for the training step to write; each replica has its own copy."""
    # All replicas write the same value, so any copy will do.
    return tf.Variable(
        tf.fill(shape, tf.cast(value, dtype)),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


def _replaced(row: Tensor, places: Sequence[int], values: Tensor) -> Tensor:
    return tf.tensor_scatter_nd_update(row, [[place] for place in places], values)
