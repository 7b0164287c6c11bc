"""How large gradients and updates are, at every step and for every variable."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._gradients.histograms import GradientHistograms
from keras_dnn.callbacks._gradients.history import GradientRecord
from keras_dnn.callbacks._gradients.in_step import GradientRow
from keras_dnn.callbacks._gradients.writers import CsvWriter, TensorBoardWriter
from keras_dnn.callbacks._probe.column import Column
from keras_dnn.callbacks._probe.recorder import Recorder

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure


class GradientNorms(Recorder):
    r"""Records gradient norms and update-to-weight ratios at every step of `fit`.

    For each trainable variable $\theta$ with gradient $g$ it records

    $$
    \lVert g \rVert_2, \qquad \lVert \mathrm{clip}(g) \rVert_2, \qquad
    \lVert \theta_{t+1} - \theta_t \rVert_2 \,/\, \lVert \theta_t \rVert_2
    $$

    of the gradients that training really used (unscaled under mixed precision, summed
    over replicas, averaged over accumulated micro-batches, repeated embedding rows
    added up) and of the update that was really applied (after clipping, decay,
    momentum and constraints). It is computed inside the training step, with no second
    backward pass. A ratio around 1e-3 is healthy as a rule of thumb.

    `History` gets, for each epoch, the mean (`gradient_norm`) and the largest
    (`gradient_norm_max`) global norm before clipping and, with `ratios`, the mean ratio
    of all weights taken as one vector (`update_ratio`). Calling `fit` again with the
    same optimizer adds to the record; another optimizer starts a new one. The arrays
    are fetched when they are read, in the middle of `fit` or after, however it ended.

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
        csv_path: file that gets a row for each recorded step, `None` for none.
        limit: how many steps to keep in the arrays. Whenever there are more, every
            other one is dropped, and from then on only such are kept; a warning says
            so. TensorBoard, the CSV file and `History` are not thinned.

    Attributes:
        names: the variables' paths, in the order of the columns.
        steps: which updates were recorded, counted from 0.
        norms: gradient norms before clipping, of shape `(steps, variables)`. A variable
            without a gradient has NaN.
        clipped_norms: the same after clipping.
        ratios: update-to-weight ratios of the same shape; NaN where all weights were
            zero, `None` if not recorded.
        global_norms: norm of all gradients together before clipping, of shape
            `(steps,)`.
        global_clipped_norms: the same after clipping.
        global_ratios: ratio of all weights together.
        histogram_steps: which updates have histograms, the last `limit` of them; `None`
            without.
        histograms: counts in 64 bins, of shape `(histogram_steps, variables, 64)`; of
            finite entries, and those in the rows that a sparse gradient names. Of a
            variable without a gradient all are 0.
        histogram_edges: the edges of their bins, with a last axis of 65.

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

    steps = Column()
    norms = Column()
    clipped_norms = Column()
    ratios = Column()
    global_norms = Column()
    global_clipped_norms = Column()
    global_ratios = Column()
    histogram_steps = Column()
    histograms = Column()
    histogram_edges = Column()

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
        self._histograms = (
            None
            if histograms is None
            else GradientHistograms(
                _arguments.count("histograms", histograms), self.limit, self._board
            )
        )
        self._optimizer: Any = None
        self._row: Any = None
        self._forget()

    def _forget(self) -> None:
        self._record = GradientRecord.empty(len(self.names))
        self._new = []
        self._kept_every = self.every
        self._epoch: list[GradientRecord] = []
        if self._histograms is not None:
            self._histograms.begin(self._paths)
        if self._csv is not None and self.names:
            self._csv.begin(self.names, self._with_ratios)

    # Traced into the training step ----------------------------------------------------

    def _create(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the table that steps write their rows to."""
        self._finish()  # What a fit that was interrupted left.
        self._paths = [v.path for v in variables]
        names = self._paths if self.per_variable else ["model"]
        if self._optimizer is not self.model.optimizer or names != self.names:
            self._optimizer, self.names = self.model.optimizer, names
            self._forget()
        block = self.model.steps_per_execution
        self._row = GradientRow(
            len(variables),
            per_variable=self.per_variable,
            every=self.every,
            ratios=self._with_ratios,
            steps_per_call=block,
            compiled=bool(self.model.jit_compile),
        )
        self._table = self._row.table
        if self._histograms is not None:
            self._histograms.create(block)

    def _before_update(self, variables: Sequence[keras.Variable], step: Tensor) -> None:
        """Keeps the weights for the ratio."""
        self._row.before(variables, step)

    def _see_gradients(
        self,
        columns: Sequence[int],
        gradients: Sequence[Tensor],
        clipped: Sequence[Tensor],
    ) -> None:
        """Keeps this update's gradients for its row."""
        step = self.model.optimizer.iterations
        self._row.see(columns, gradients, clipped, step)
        if self._histograms is not None:
            self._histograms.see(columns, gradients, step)

    def _after_update(
        self, variables: Sequence[keras.Variable], step: Tensor, updated: Tensor
    ) -> None:
        """Writes the row of this update."""
        self._row.write(variables, step, updated)
        if self._histograms is not None:
            self._histograms.write(step, updated)

    # On the host ----------------------------------------------------------------------

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Begins the epoch's summary."""
        self._fetch()
        self._epoch = []

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Fetches the tables before they are full."""
        super().on_train_batch_end(batch, logs)
        if self._histograms is not None:
            self._histograms.called()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the epoch's summary to the logs."""
        if logs is None:
            return
        self._fetch()
        epoch_record = GradientRecord.joined([GradientRecord.empty(0), *self._epoch])
        logs["gradient_norm"] = _or_nan(np.mean, epoch_record.global_norms)
        logs["gradient_norm_max"] = _or_nan(np.max, epoch_record.global_norms)
        if self._with_ratios:
            logs["update_ratio"] = _or_nan(np.mean, epoch_record.global_ratios)

    def _finish(self) -> None:
        super()._finish()
        self._row = None
        if self._histograms is not None:
            self._histograms.finish()
        if self._board is not None:
            self._board.close()

    def _read(self, name: str) -> np.ndarray | None:
        if name.endswith("ratios") and not self._with_ratios:
            return None
        if name.startswith("histogram"):
            return None if self._histograms is None else self._histograms.columns[name]
        column: np.ndarray = getattr(self._up_to_date(), name)
        return column

    def _digested(self, rows: np.ndarray) -> GradientRecord:
        live = self._row.live if self.per_variable else np.ones(1, bool)
        record = GradientRecord.of(rows, live)
        if self._board is not None:
            self._board.write(record, self.names, self._with_ratios)
        if self._csv is not None:
            self._csv.write(record, self._with_ratios)
        self._epoch.append(record.without_variables())
        return record.thinned(self._kept_every)

    def _joined(self, records: Sequence[GradientRecord]) -> GradientRecord:
        joined = GradientRecord.joined(records)
        while len(joined.steps) > self.limit:
            self._kept_every *= 2
            joined = joined.thinned(self._kept_every)
            warnings.warn(
                f"GradientNorms holds its limit of {self.limit} steps and keeps one in "
                f"{self._kept_every} from now on. A higher limit keeps more.",
                stacklevel=2,
            )
        return joined

    def plot(self) -> Figure:
        """Draws the global norm over steps, and all norms as a heat map below.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if nothing was recorded yet.
        """
        if not self.steps.size:
            raise ValueError("There is nothing to plot before the first fit.")
        from keras_dnn import plotting

        return plotting.gradient_norms(
            self.steps,
            self.names,
            self.norms,
            self.global_norms,
            self.global_clipped_norms,
        )


def _or_nan(summary: Callable[[np.ndarray], Any], values: np.ndarray) -> float:
    """NaN of nothing, so that `History` has an entry for each epoch."""
    return float(summary(values)) if values.size else float("nan")
