"""The sizes of gradients and updates, at every step and for every variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_dnn import _arguments
from keras_dnn._result import require_recorded
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._gradients.histograms import GradientHistograms
from keras_dnn.callbacks._gradients.history import (
    GradientArrays,
    GradientHistory,
    summary,
)
from keras_dnn.callbacks._gradients.in_step import NormsInStep
from keras_dnn.callbacks._gradients.writers import CsvWriter, TensorBoardWriter
from keras_dnn.callbacks._probe.training_step import TrainingStep
from keras_dnn.callbacks.probe import Probe

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure


class GradientNorms(Probe):
    r"""Records gradient norms and update-to-weight ratios at every step of `fit`.

    For each trainable variable $\theta$ with gradient $g$ it records

    $$
    \lVert g \rVert_2, \qquad \lVert \mathrm{clip}(g) \rVert_2, \qquad
    \lVert \theta_{t+1} - \theta_t \rVert_2 \,/\, \lVert \theta_t \rVert_2
    $$

    of the gradients that training uses (unscaled under mixed precision, summed over
    replicas, averaged over accumulated micro-batches, repeated embedding rows added up)
    and of the update that was applied (after clipping, decay, momentum and
    constraints). It is computed inside the training step, without a second backward
    pass. As a rule of thumb, a ratio around 1e-3 is healthy.

    `History` gets, for each epoch, the mean (`gradient_norm`) and the largest
    (`gradient_norm_max`) global norm before clipping and, with `ratios`, the mean ratio
    of all weights taken as one vector (`update_ratio`). Calling `fit` again with the
    same optimizer adds to the record; another optimizer starts a new one. The arrays
    can be read while `fit` runs and afterwards, however it ended.

    If a `train_step` of your own makes several updates, such as one of a generator and
    one of a discriminator, each has a row, in which the variables that its optimizer
    does not train are NaN.

    Args:
        per_variable: whether to record each variable; if not, all are taken as one
            vector, named `"model"`.
        every: record each `every`-th update only.
        log_dir: folder for TensorBoard scalars and histograms, `None` for none.
        ratios: whether to record the ratios, which needs a copy of the weights while
            the step runs and moves six times the memory that norms alone do.
        histograms: count the entries of each variable's gradient before clipping, at
            each update that is a multiple of this, whatever `per_variable` says; `None`
            for none.
        csv_path: file that gets a row for each recorded step, `None` for none. A
            training that is resumed continues its file: rows of the same variables and
            of steps before the first new one stay. Anything else is overwritten.
        limit: how many steps to keep in the arrays. When there are more, every other
            one is dropped and the interval between recorded steps doubles; a warning
            says so. TensorBoard, the CSV file and `History` get all recorded steps.

    Attributes:
        names: the variables' paths, in the order of the last axis of all arrays.

    Raises:
        ValueError: if `every`, `histograms` or `limit` is not a positive integer.
        ImportError: if `log_dir` is given and TensorBoard is not installed.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.callbacks import GradientNorms
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.SGD(0.1, clipnorm=0.5), "mse")
        >>> x = np.ones((8, 3))
        >>> gradients = GradientNorms()
        >>> history = model.fit(
        ...     x, x.sum(axis=1), batch_size=2, verbose=0, callbacks=[gradients]
        ... )
        >>> gradients.norms.shape
        (4, 2)
        >>> bool((gradients.clipped_norms <= 0.5 + 1e-6).all())
        True

    Reference:
        A. Karpathy, "CS231n: Neural Networks Part 3", on the ratio of weights to
        updates.
    """

    def __init__(
        self,
        per_variable: bool = True,
        every: int = 1,
        log_dir: str | None = None,
        ratios: bool = True,
        *,
        histograms: int | None = None,
        csv_path: str | None = None,
        limit: int = 10_000,
    ) -> None:
        super().__init__()
        self.per_variable = per_variable
        self.every = _arguments.count("every", every)
        self.limit = _arguments.count("limit", limit)
        self.names: list[str] = []
        self._paths: list[str] = []
        self._board = None if log_dir is None else TensorBoardWriter(log_dir)
        self._csv = None if csv_path is None else CsvWriter(csv_path)
        self._with_ratios = ratios
        self._histograms: GradientHistograms | None = None
        if histograms is not None:
            _arguments.count("histograms", histograms)
            self._histograms = GradientHistograms(histograms, self.limit, self._board)
        self._optimizer: keras.optimizers.Optimizer | None = None
        self._in_step: NormsInStep
        self._begin_record()

    def _begin_record(self) -> None:
        self._history = GradientHistory(len(self.names), self.every, self.limit)
        self._epoch: list[GradientArrays] = []
        if self._histograms is not None:
            self._histograms.begin(self._paths)
        if self._csv is not None and self.names:
            self._csv.begin(self.names, self._with_ratios)

    # Traced into the training step ----------------------------------------------------

    def create(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the buffers that steps write to."""
        self._paths = [v.path for v in variables]
        names = self._paths if self.per_variable else ["model"]
        if self._optimizer is not self.model.optimizer or names != self.names:
            self._optimizer, self.names = self.model.optimizer, names
            self._begin_record()
        self._in_step = NormsInStep(
            len(variables),
            per_variable=self.per_variable,
            every=self.every,
            ratios=self._with_ratios,
            compiled=bool(self.model.jit_compile),
            receive=self._receive,
        )
        self._open(self._in_step.rows)
        if self._histograms is not None:
            self._open(self._histograms.create())

    def before_update(self, step: TrainingStep) -> None:
        """Copies the weights for the ratio."""
        self._in_step.before_update(step)

    def _on_clipping(
        self,
        step: TrainingStep,
        indices: Sequence[int],
        gradients: Sequence[Tensor],
        clipped: Sequence[Tensor],
        updates_now: Callable[[], Tensor | bool],
    ) -> None:
        """Keeps the gradients for the row; `after_update` knows whether they count."""
        self._in_step.on_gradients(step, indices, gradients, clipped)
        if self._histograms is not None:
            self._histograms.count(step, indices, gradients)

    def after_update(self, step: TrainingStep) -> None:
        """Writes the row of this update."""
        self._in_step.after_update(step)
        if self._histograms is not None:
            self._histograms.write(step)

    # On the host ----------------------------------------------------------------------

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Begins the epoch's summary."""
        self._fetch()
        self._epoch = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the epoch's summary to the logs."""
        super().on_epoch_end(epoch, logs)
        if logs is None:
            return
        self._fetch()
        logs |= summary(self._epoch, self._with_ratios)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Detaches the probe, fetches its last rows and closes its files."""
        super().on_train_end(logs)
        self._history.join()
        if self._board is not None:
            self._board.close()

    def _fetch(self) -> None:
        for rows in self._open_rows:
            rows.fetch()

    def _receive(self, rows: np.ndarray) -> None:
        arrays = GradientArrays.of(rows)
        if self._board is not None:
            self._board.write(arrays, self.names, self._with_ratios)
        if self._csv is not None:
            self._csv.write(arrays, self._with_ratios)
        self._epoch.append(arrays.without_variables())
        self._history.add(arrays)

    # The record -----------------------------------------------------------------------

    @property
    def _arrays(self) -> GradientArrays:
        self._fetch()
        return self._history.arrays

    @property
    def steps(self) -> np.ndarray:
        """The updates that were recorded, counted from 0, of shape `(steps,)`."""
        return self._arrays.steps

    @property
    def norms(self) -> np.ndarray:
        """Gradient norms before clipping, of shape `(steps, variables)`.

        Those of a variable without a gradient in that update are NaN.
        """
        return self._arrays.norms

    @property
    def clipped_norms(self) -> np.ndarray:
        """Gradient norms after clipping, of shape `(steps, variables)`."""
        return self._arrays.clipped_norms

    @property
    def ratios(self) -> np.ndarray | None:
        """Update-to-weight ratios, of shape `(steps, variables)`.

        NaN where all weights were zero; `None` if ratios are not recorded.
        """
        return self._arrays.ratios if self._with_ratios else None

    @property
    def global_norms(self) -> np.ndarray:
        """Norm of all gradients together before clipping, of shape `(steps,)`."""
        return self._arrays.global_norms

    @property
    def global_clipped_norms(self) -> np.ndarray:
        """Norm of all gradients together after clipping, of shape `(steps,)`."""
        return self._arrays.global_clipped_norms

    @property
    def global_ratios(self) -> np.ndarray | None:
        """Ratio of all weights together, of shape `(steps,)`, `None` without ratios."""
        return self._arrays.global_ratios if self._with_ratios else None

    @property
    def histogram_steps(self) -> np.ndarray | None:
        """The updates that have histograms, the last `limit` of them."""
        return None if self._histograms is None else self._histograms.steps

    @property
    def histograms(self) -> np.ndarray | None:
        """Counts in 64 bins, of shape `(histogram_steps, variables, 64)`.

        Finite entries are counted, of a sparse gradient those in the rows it names; of
        a variable without a gradient all counts are 0. `None` without histograms.
        """
        return None if self._histograms is None else self._histograms.counts

    @property
    def histogram_edges(self) -> np.ndarray | None:
        """Edges of the bins, of shape `(histogram_steps, variables, 65)`."""
        return None if self._histograms is None else self._histograms.edges

    def plot(self) -> Figure:
        """Draws the global norm over steps, and all norms as a heat map below.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if nothing was recorded yet.
        """
        require_recorded(self.steps)
        from keras_dnn import plotting

        return plotting.gradient_norms(
            self.steps,
            self.names,
            self.norms,
            self.global_norms,
            self.global_clipped_norms,
        )
