"""How the entries of each gradient are distributed, at some of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._probe.histogram import SIZE, counts_and_edges, histogram
from keras_dnn.callbacks._probe.norms import entries
from keras_dnn.callbacks._probe.step_buffer import Table, variable

if TYPE_CHECKING:
    from keras_dnn.callbacks._gradients.writers import TensorBoardWriter


class GradientHistograms:
    """A record of histograms, written in the graph and kept on the host.

    Args:
        every: how many updates lie between two of them.
        limit: how many to keep; the last ones are.
        board: where to write them too.
    """

    def __init__(
        self, every: int, limit: int, board: TensorBoardWriter | None = None
    ) -> None:
        self.every = every
        self.limit = limit
        self._board = board
        self._table: Table | None = None
        self.begin([])

    def begin(self, names: Sequence[str]) -> None:
        """Begins a new record, for these variables."""
        self.names = list(names)
        self._steps = np.empty(0, "int64")
        self._rows = np.empty((0, len(names), SIZE))

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The record as arrays."""
        self.fetch()
        counts, edges = counts_and_edges(self._rows)
        return {
            "histogram_steps": self._steps,
            "histograms": counts,
            "histogram_edges": edges,
        }

    # Traced into the training step ----------------------------------------------------

    def create(self, steps_per_call: int) -> None:
        """Creates what the steps of a `fit` write to."""
        self._seen = variable((len(self.names), SIZE))
        self._table = Table(1 + len(self.names) * SIZE, steps_per_call, rows=16)

    def see(
        self, columns: Sequence[int], gradients: Sequence[Tensor], step: Tensor
    ) -> None:
        """Counts the gradients of this update, if it is one of those."""
        before = tf.convert_to_tensor(self._seen)

        def count() -> Tensor:
            rows = tf.stack([histogram(entries(g)) for g in gradients])
            return tf.tensor_scatter_nd_update(before, [[i] for i in columns], rows)

        if columns:
            self._seen.assign(tf.cond(self._wanted(step), count, lambda: before))

    def write(self, step: Tensor, updated: Tensor) -> None:
        """Writes the row of this update, if it is one of those."""
        assert self._table is not None
        row = tf.concat([[tf.cast(step, tf.float64)], tf.reshape(self._seen, [-1])], 0)
        self._table.write(row, keep=updated & self._wanted(step))

    def _wanted(self, step: Tensor) -> Tensor:
        return step % self.every == 0

    # On the host ----------------------------------------------------------------------

    def called(self) -> None:
        """Counts a call of the training function, and fetches in good time."""
        if self._table is not None and self._table.called():
            self.fetch()

    def fetch(self) -> None:
        """Adds what the steps have written to the record."""
        if self._table is None:
            return
        rows = self._table.fetch()
        if not rows.size:
            return
        steps = rows[:, 0].astype("int64")
        new = rows[:, 1:].reshape(len(rows), len(self.names), SIZE)
        if self._board is not None:
            self._board.write_histograms(steps, new, self.names)
        self._steps = np.concatenate([self._steps, steps])[-self.limit :]
        self._rows = np.concatenate([self._rows, new])[-self.limit :]

    def finish(self) -> None:
        """Frees what the steps wrote to."""
        self.fetch()
        self._table = self._seen = None
