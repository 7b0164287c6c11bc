"""The training loss in inference mode, and its gap to the validation loss."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._batches import sample_of
from keras_dnn._keras.layers import (
    has_call,
    require_call,
    rows_of_states,
    sublayers,
)
from keras_dnn._keras.losses import (
    call_of,
    loss_is_in_step,
    needs_targets,
    own_step,
    require_loss_outside_step,
    total_loss,
)
from keras_dnn._keras.prediction import data_for_keras
from keras_dnn._result import require_recorded
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import moving_variables, restored, same_randomness
from keras_dnn.callbacks._evaluation import evaluated, has_targets
from keras_dnn.callbacks._metrics import warn_of_missing
from keras_dnn.callbacks._only_once import require_once
from keras_dnn.diagnostics.training_history import Verdict
from keras_dnn.layers._stochastic import rates

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TrainingEvaluation(keras.callbacks.Callback):
    r"""Evaluates a sample of the training data with dropout off, each epoch.

    The training loss that `fit` reports is a running mean over the epoch, with dropout
    on, and cannot be compared with the validation loss. This callback separates both
    effects from the gap. At the end of each epoch it computes, on a fixed sample of the
    training data, the loss in training mode $L_\mathrm{train}$ and in inference mode
    $L_\mathrm{eval}$, and splits

    $$
    L_\mathrm{val} - L_\mathrm{fit} =
    \underbrace{L_\mathrm{val} - L_\mathrm{eval}}_\text{generalisation}
    - \underbrace{(L_\mathrm{train} - L_\mathrm{eval})}_\text{regularisation}
    - \underbrace{(L_\mathrm{fit} - L_\mathrm{train})}_\text{lag}
    $$

    The lag also contains the sampling error. `verdict` goes by the last epoch that was
    validated. With $L$ the larger of $|L_\mathrm{val}|$ and $|L_\mathrm{eval}|$, it is

    - `"overfitting"` if the generalisation gap is more than `tolerance` times $L$;
    - `"underfitting"` if $L_\mathrm{eval}$ is worse than `target`, or if the
      regularisation gap is more than `tolerance` times $L$ and more than the
      generalisation gap;
    - `"fine"` otherwise, and `"unknown"` without validation data.

    `History` gets loss and metrics as `train_eval_loss` and so on, and the gaps as
    `train_eval_lag`, `train_eval_regularisation` and `train_eval_generalisation`. The
    model and its random state do not change. Calling `fit` again adds to the record.

    Args:
        data: training data: a tuple `(x, y)` or `(x, y, sample_weight)`, of which
            examples are drawn; a `keras.utils.PyDataset`, of which batches are drawn;
            or a `tf.data.Dataset`, of which the first batches are taken.
        name: prefix of the names in `History`.
        samples: about how many examples to evaluate.
        batch_size: number of examples at a time, for data that is not in batches.
        seed: of the sample.
        tolerance: the largest gap to tolerate, as a fraction of the loss, above 0.
        target: a loss that is low enough, if known.

    Attributes:
        verdict: `"overfitting"`, `"underfitting"`, `"fine"` or `"unknown"`.
        advice: what to do, and whether to raise or lower the dropout rate.

    Raises:
        ValueError: if an argument lies outside its range, or, in `fit`, if the data
            hold no targets or only the model's `train_step` knows its loss.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.callbacks import TrainingEvaluation
        >>> model = keras.Sequential(
        ...     [keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
        ... )
        >>> model.compile("adam", "mse")
        >>> x = np.ones((8, 3))
        >>> data = (x, x.sum(axis=1))
        >>> evaluation = TrainingEvaluation(data)
        >>> history = model.fit(
        ...     *data, validation_data=data, verbose=0, callbacks=[evaluation]
        ... )
        >>> evaluation.generalisation_gaps.round(5)
        array([0.])

    Reference:
        N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
        Overfitting", 2014.
    """

    def __init__(
        self,
        data: Any,
        name: str = "train_eval",
        *,
        samples: int = 2048,
        batch_size: int = 256,
        seed: int = 0,
        tolerance: float = 0.1,
        target: float | None = None,
    ) -> None:
        super().__init__()
        self.data: Any = data
        self.name: str = name
        self.samples: int = _arguments.count("samples", samples)
        self.batch_size: int = _arguments.count("batch_size", batch_size)
        self.seed: int = _arguments.count("seed", seed, least=0)
        self.tolerance: float = _arguments.number("tolerance", tolerance, bounds="()")
        self.target: float | None = (
            target
            if target is None
            else _arguments.number("target", target, low=-np.inf, or_else=" or None")
        )
        self._recorded_model: keras.Model | None = None
        self._sample: Any = None
        self._warns = True
        self._rows: list[_Row] = []

    # What fit calls -------------------------------------------------------------------

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Draws the sample, the first time."""
        require_tensorflow("keras_dnn.callbacks.TrainingEvaluation")
        require_once(self)
        own_test = own_step(self.model, "test_step")
        if not own_test:
            require_loss_outside_step(self.model, "TrainingEvaluation")
            require_call(self.model, "TrainingEvaluation")
        if not own_test and needs_targets(self.model) and not has_targets(self.data):
            raise ValueError(
                "data must hold inputs and targets, such as a tuple (x, y). "
                f"Received: data of type {type(self.data).__name__} without targets"
            )
        if self._recorded_model is not self.model:
            self._recorded_model = self.model
            self._rows = []
        if self._sample is None:
            data = self.data
            if isinstance(data, tuple):
                # As `fit` hands inputs alone to a step: without a tuple around them.
                data = keras.utils.pack_x_y_sample_weight(*data)
            self._sample = sample_of(
                data,
                self.samples,
                self.batch_size,
                self.seed,
                rows_at_once=rows_of_states(self.model),
                prepare=functools.partial(data_for_keras, self.model),
            )
        self._batch_loss = tf.function(self._loss, autograph=False)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates, and adds loss, metrics and gaps to the logs."""
        logs = {} if logs is None else logs
        results = evaluated(self.model, self._sample, prepared=True)
        known = has_call(self.model) and not loss_is_in_step(self.model)
        if results.get("loss") is None:
            # A `test_step` of the user's own may report other names.
            if self._warns and not known:
                self._warns = False
                warn_of_missing("TrainingEvaluation", "loss", results, "test_step")
            results["loss"] = self._mean_loss(training=False) if known else np.nan
        for metric, value in results.items():
            logs[f"{self.name}_{metric}"] = value
        evaluation = float(results["loss"])
        training = self._mean_loss(training=True) if known else np.nan
        lag = float(logs.get("loss", np.nan)) - training
        regularisation = training - evaluation
        generalisation = float(logs.get("val_loss", np.nan)) - evaluation
        logs[f"{self.name}_lag"] = lag
        logs[f"{self.name}_regularisation"] = regularisation
        logs[f"{self.name}_generalisation"] = generalisation
        self._rows.append(_Row(evaluation, lag, regularisation, generalisation))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Frees the compiled function."""
        del self._batch_loss

    # The loss in either mode ----------------------------------------------------------

    def _mean_loss(self, *, training: bool) -> float:
        """The mean over the sample; leaves the model as it is."""
        total, rows = 0.0, 0
        moving = [*self.model.metrics_variables, *moving_variables(self.model)]
        with same_randomness(), restored(moving):
            for batch in self._sample:
                parts = keras.tree.flatten(batch)
                size = next(int(part.shape[0]) for part in parts if part is not None)
                total += size * float(self._batch_loss(batch, training))
                rows += size
        return total / rows

    def _loss(self, batch: Any, training: bool) -> Tensor:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        outputs = call_of(self.model, x, training=training)
        loss = total_loss(self.model, x, y, outputs, sample_weight, training=training)
        # Keras divides the loss by the number of replicas, but only one runs here.
        return loss * tf.distribute.get_strategy().num_replicas_in_sync

    # The record -----------------------------------------------------------------------

    @property
    def losses(self) -> np.ndarray:
        """The loss in inference mode, for each epoch."""
        return np.array([row.losses for row in self._rows])

    @property
    def lags(self) -> np.ndarray:
        """How much higher the reported loss was than that in training mode."""
        return np.array([row.lags for row in self._rows])

    @property
    def regularisation_gaps(self) -> np.ndarray:
        """How much higher the loss was in training mode than in inference mode."""
        return np.array([row.regularisation_gaps for row in self._rows])

    @property
    def generalisation_gaps(self) -> np.ndarray:
        """How much higher the validation loss was than `losses`; NaN without one."""
        return np.array([row.generalisation_gaps for row in self._rows])

    @property
    def verdict(self) -> Verdict:
        """The state of training at the last epoch that was validated."""
        return self._judgement()[0]

    @property
    def advice(self) -> str:
        """What to do, and whether to raise or lower the dropout rate."""
        return self._judgement()[1]

    def _judgement(self) -> tuple[Verdict, str]:
        validated = [row for row in self._rows if np.isfinite(row).all()]
        if not validated:
            return "unknown", "Give fit validation_data and train for an epoch."
        loss, _, regularisation, generalisation = validated[-1]
        scale = max(abs(loss), abs(loss + generalisation))
        now = {
            rate for layer in sublayers(self._recorded_model) for rate in rates(layer)
        }
        dropout = f" (now {', '.join(f'{r:g}' for r in sorted(now))})" if now else ""
        if generalisation > self.tolerance * scale:
            raised = f"Raise the dropout rate{dropout}" if now else "Add dropout"
            return "overfitting", f"{raised}, regularise otherwise, or get more data."
        costly = regularisation > max(generalisation, self.tolerance * scale)
        poor = self.target is not None and loss > self.target
        if costly and now:
            return "underfitting", f"Lower the dropout rate{dropout}."
        if costly or poor:
            return (
                "underfitting",
                "Regularise less, train longer, or make the network larger.",
            )
        return "fine", "Leave the dropout rate as it is."

    def plot(self) -> Figure:
        """Draws the four losses over the epochs, with the gaps between them.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if nothing was recorded yet.
        """
        require_recorded(self._rows)
        from keras_dnn import plotting

        return plotting.training_gaps(
            self.losses, self.lags, self.regularisation_gaps, self.generalisation_gaps
        )


class _Row(NamedTuple):
    """The measurements at the end of one epoch."""

    losses: float
    lags: float
    regularisation_gaps: float
    generalisation_gaps: float
