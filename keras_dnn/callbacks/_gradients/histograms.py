"""How the entries of each gradient are distributed, at some of the updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._probe.histogram import SIZE, counts_and_edges, histogram
from keras_dnn.callbacks._probe.norms import entries
from keras_dnn.callbacks._probe.record import StepRows, step_variable
from keras_dnn.callbacks._probe.training_step import TrainingStep

if TYPE_CHECKING:
    from keras_dnn.callbacks._gradients.writers import TensorBoardWriter

CAPACITY = 16
"""Rows in the graph: one row of histograms is as long as many rows of norms."""


class GradientHistograms:
    """Histograms of every variable's gradient, counted in the graph.

    Args:
        every: how many updates lie between two of them.
        limit: how many to keep; the last ones are.
        board: where else to write them.
    """

    def __init__(
        self, every: int, limit: int, board: TensorBoardWriter | None = None
    ) -> None:
        self.every = every
        self.limit = limit
        self._board = board
        self._rows: StepRows | None = None
        self._counted: Tensor = None
        self.begin([])

    def begin(self, names: Sequence[str]) -> None:
        """Starts a new record, for these variables."""
        self.names = list(names)
        self._steps = np.empty(0, "int64")
        self._histograms = np.empty((0, len(names), SIZE))

    @property
    def steps(self) -> np.ndarray:
        """The updates that have histograms, counted from 0."""
        self._fetch()
        return self._steps

    @property
    def counts(self) -> np.ndarray:
        """The counts, of shape `(steps, variables, bins)`."""
        self._fetch()
        return counts_and_edges(self._histograms)[0]

    @property
    def edges(self) -> np.ndarray:
        """The edges of the bins, of shape `(steps, variables, bins + 1)`."""
        self._fetch()
        return counts_and_edges(self._histograms)[1]

    # Traced into the training step ----------------------------------------------------

    def create(self) -> StepRows:
        """Creates what the steps of a `fit` write to."""
        self._counted = step_variable((len(self.names), SIZE))
        self._rows = StepRows(
            1 + len(self.names) * SIZE, receive=self._receive, capacity=CAPACITY
        )
        return self._rows

    def count(
        self, step: TrainingStep, indices: Sequence[int], gradients: Sequence[Tensor]
    ) -> None:
        """Counts the gradients of this update, if it is one of every so many."""
        before = tf.convert_to_tensor(self._counted)

        def counted() -> Tensor:
            rows = tf.stack([histogram(entries(g)) for g in gradients])
            return tf.tensor_scatter_nd_update(before, [[i] for i in indices], rows)

        if indices:
            self._counted.assign(tf.cond(self._due(step), counted, lambda: before))

    def write(self, step: TrainingStep) -> None:
        """Writes the row of this update, if it is one of every so many."""
        assert self._rows is not None
        number = tf.cast(step.number, tf.float64)
        row = tf.concat([[number], tf.reshape(self._counted, [-1])], 0)
        self._rows.write(row, keep=step.updated & self._due(step))

    def _due(self, step: TrainingStep) -> Tensor:
        return step.number % self.every == 0

    # On the host ----------------------------------------------------------------------

    def _fetch(self) -> None:
        if self._rows is not None:
            self._rows.fetch()

    def _receive(self, rows: np.ndarray) -> None:
        steps = rows[:, 0].astype("int64")
        new = rows[:, 1:].reshape(len(rows), len(self.names), SIZE)
        if self._board is not None:
            self._board.write_histograms(steps, new, self.names)
        self._steps = np.concatenate([self._steps, steps])[-self.limit :]
        self._histograms = np.concatenate([self._histograms, new])[-self.limit :]
