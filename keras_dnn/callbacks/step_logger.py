"""The learning rate, momentum and loss of every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_dnn._keras.optimizers import parts_of
from keras_dnn._result import require_recorded
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._probe.record import StepRows
from keras_dnn.callbacks.probe import Probe

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure


class StepLogger(Probe):
    """Records the learning rate, the momentum and the loss of every step of `fit`.

    The loss is that of the batch; Keras's progress bar and logs show the mean of the
    epoch so far. The learning rate is the one that the step used;
    `optimizer.learning_rate`, read after a step, is that of the next one. There is one
    row for each batch, also with `steps_per_execution` and under gradient accumulation.
    The learning rate and momentum of a `MultiOptimizer` are those of its first
    optimizer. Calling `fit` again adds to the record.

    A `train_step` of your own is seen too: the losses are those whose gradients it
    asks a `tf.GradientTape` for. If there are several, such as those of a generator and
    a discriminator, each has a row, with the learning rate and momentum of the
    optimizer that trains its weights; NaN where that is unknown.

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

    def __init__(self) -> None:
        super().__init__()
        self._rows = StepRows(3)

    # Traced into the training step ----------------------------------------------------

    def create(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the buffer that steps write to."""
        self._open(self._rows)

    def _on_loss(self, loss: Tensor, optimizer: Any) -> None:
        """Writes the row of this loss."""
        part = None if optimizer is None else parts_of(optimizer)[0]
        rate = getattr(part, "learning_rate", np.nan)
        momentum = getattr(part, "momentum", getattr(part, "beta_1", np.nan))
        numbers = (rate, momentum, loss)
        self._rows.write(tf.stack([tf.cast(n, tf.float64) for n in numbers]))

    # The record -----------------------------------------------------------------------

    @property
    def steps(self) -> np.ndarray:
        """The number of each batch, counted from 0."""
        return np.arange(len(self._rows.rows))

    @property
    def learning_rates(self) -> np.ndarray:
        """The learning rate that each batch used."""
        return self._rows.rows[:, 0]

    @property
    def momenta(self) -> np.ndarray:
        """The momentum, or beta_1 if the optimizer has that; NaN if it has neither."""
        return self._rows.rows[:, 1]

    @property
    def losses(self) -> np.ndarray:
        """The loss of each batch, regularisation included."""
        return self._rows.rows[:, 2]

    def plot(self) -> Figure:
        """Draws the losses over the steps, and learning rate and momentum below.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if nothing was recorded yet.
        """
        require_recorded(self.steps)
        from keras_dnn import plotting

        return plotting.training_steps(
            self.steps, self.losses, self.learning_rates, self.momenta
        )
