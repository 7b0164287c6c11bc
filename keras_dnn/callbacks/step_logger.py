"""What each step used and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._learning_rate import optimizers_of
from keras_dnn.callbacks._probe.column import Column
from keras_dnn.callbacks._probe.recorder import Recorder
from keras_dnn.callbacks._probe.step_buffer import Table

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

COLUMNS = ("steps", "learning_rates", "momenta", "losses")


class StepLogger(Recorder):
    """Records the rate, the momentum and the loss of every step of `fit`.

    The loss is the batch's own, where Keras's progress bar and logs show the mean of
    the epoch so far. The rate is the one that the step used, where
    `optimizer.learning_rate` read after a step is the next one's. There is one row for
    each batch, also with `steps_per_execution` and in accumulation. Of a
    `MultiOptimizer`, rate and momentum are those of its first optimizer. Calling `fit`
    again adds to the record.

    Attributes:
        steps: the batches, counted from 0.
        learning_rates: the rate that each of them used.
        momenta: the momentum, or beta_1 where the optimizer has that; NaN where it has
            neither.
        losses: the loss of each batch, regularisation included.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.callbacks import StepLogger
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.Adam(0.1), "mse")
        >>> x = np.ones((8, 3))
        >>> log = StepLogger()
        >>> history = model.fit(
        ...     x, x.sum(axis=1), batch_size=2, verbose=0, callbacks=[log]
        ... )
        >>> log.steps
        array([0, 1, 2, 3])
        >>> log.momenta.round(3)
        array([0.9, 0.9, 0.9, 0.9])
    """

    steps = Column()
    learning_rates = Column()
    momenta = Column()
    losses = Column()

    def __init__(self) -> None:
        super().__init__()
        self._record = np.empty((0, len(COLUMNS)))

    def _create(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the table that steps write their rows to."""
        self._finish()  # What a fit that was interrupted left.
        self._table = Table(len(COLUMNS) - 1, self.model.steps_per_execution)

    def _see_loss(self, loss: Tensor) -> None:
        """Writes the row of this batch."""
        assert self._table is not None
        optimizer = optimizers_of(self.model)[0]
        momentum = getattr(optimizer, "momentum", getattr(optimizer, "beta_1", np.nan))
        numbers = (optimizer.learning_rate, momentum, loss)
        self._table.write(tf.stack([tf.cast(n, tf.float64) for n in numbers]))

    def _read(self, name: str) -> np.ndarray:
        column: np.ndarray = self._up_to_date()[:, COLUMNS.index(name)]
        return column.astype("int64") if name == "steps" else column

    def _digested(self, rows: np.ndarray) -> np.ndarray:
        first = len(self._record) + sum(map(len, self._new))
        return np.column_stack([np.arange(first, first + len(rows)), rows])

    def _joined(self, records: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(records)

    def plot(self) -> Figure:
        """Draws the losses over the steps, and rate and momentum below.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if nothing was recorded yet.
        """
        if not self.steps.size:
            raise ValueError("There is nothing to plot before the first fit.")
        from keras_dnn import plotting

        return plotting.training_steps(
            self.steps, self.losses, self.learning_rates, self.momenta
        )
