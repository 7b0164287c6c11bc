"""What the doctor records of a training, from the probes to a `TrainingHistory`."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._batches import first_batches, first_rows
from keras_dnn._keras.layers import has_call, rows_of_states, sublayers
from keras_dnn._keras.losses import loss_is_in_step, needs_targets, own_step
from keras_dnn._keras.prediction import batch_for_keras
from keras_dnn.callbacks._doctor.first_nonfinite_step import FirstNonfiniteStep
from keras_dnn.callbacks._doctor.guesses import Guesses, guesses, penalty_of
from keras_dnn.callbacks._doctor.saved_history import joined
from keras_dnn.callbacks._evaluation import has_targets
from keras_dnn.callbacks._probe.tap import Tap
from keras_dnn.callbacks.activation_statistics import ActivationStatistics
from keras_dnn.callbacks.gradient_norms import GradientNorms
from keras_dnn.callbacks.step_logger import StepLogger
from keras_dnn.callbacks.training_evaluation import TrainingEvaluation
from keras_dnn.diagnostics.training_history import NonfiniteStep, TrainingHistory
from keras_dnn.layers._stochastic import rates

BATCHES = 16
"""The most batches that are searched for an example that makes a layer fail."""

LEFT = 0.01
"""Remaining weight of a batch norm's initial statistics that no longer matters."""


class _Epoch(NamedTuple):
    """Losses of one epoch, NaN where unknown."""

    reported: float
    validation: float
    evaluation: float
    regularisation: float
    penalty: float


LOGGED_AS = {
    "reported": "loss",
    "validation": "val_loss",
    "evaluation": "train_eval_loss",
    "regularisation": "train_eval_regularisation",
}


class Recording:
    """The probes that watch a training, and what they have recorded.

    Args:
        data: training data, or `None`.
        every: at how many steps gradients are measured once.
        samples: about how many examples of `data` to use.
        earlier: what an earlier process recorded of the training.
    """

    def __init__(
        self,
        data: Any,
        every: int,
        samples: int,
        earlier: TrainingHistory | None = None,
    ) -> None:
        self._data, self._samples = data, samples
        self._earlier = earlier
        self._steps = StepLogger()
        self._gradients = GradientNorms(every=every)
        self._nonfinite = FirstNonfiniteStep()
        self._units: ActivationStatistics | None = None
        self._evaluation: TrainingEvaluation | None = None
        self._epochs: list[_Epoch] = []
        self._guesses: Guesses | None = None
        self._is_weighted = False
        self._nonfinite_metric: NonfiniteStep | None = None
        if data is not None:
            self._units = ActivationStatistics(first_rows(data, samples))
        for probe in (self._steps, self._gradients, self._nonfinite):
            probe._reported_as = "Doctor"

    def begin(self, model: keras.Model) -> None:
        """Prepares for a model: whether its loss can be evaluated depends on it."""
        if not has_call(model):
            self._units = None
        if self._data is None or self._evaluation is not None:
            return
        own = own_step(model, "test_step")
        complete = has_targets(self._data) or not needs_targets(model)
        known = has_call(model) and not loss_is_in_step(model)
        if own or (complete and known):
            self._evaluation = TrainingEvaluation(self._data, samples=self._samples)
            # Of checks that lack its loss the report does not say that they were made.
            self._evaluation._warns = False

    @property
    def probes(self) -> list[keras.callbacks.Callback]:
        """The callbacks that record."""
        probes = (
            self._steps,
            self._gradients,
            self._nonfinite,
            self._units,
            self._evaluation,
        )
        return [probe for probe in probes if probe is not None]

    def end_epoch(self, model: keras.Model, logs: dict[str, Any]) -> None:
        """Records the losses of an epoch from its logs."""
        for name, value in logs.items():
            is_loss = name == "loss" or name.endswith("_loss")
            if is_loss and not name.startswith("train_eval") and not _is_finite(value):
                self._nonfinite_metric = self._nonfinite_metric or NonfiniteStep(
                    len(self._steps.losses), float(value), None, "data", name
                )
        found = {
            field: float(logs.get(name, np.nan)) for field, name in LOGGED_AS.items()
        }
        self._epochs.append(_Epoch(**found, penalty=penalty_of(model)))
        self._is_weighted = Tap.on(model).is_weighted
        # Validation may be made in a later epoch only.
        validated = np.isfinite(found["validation"])
        if self._guesses is None or (validated and np.isnan(self._guesses.validation)):
            sample = self._evaluation and self._evaluation._sample
            self._guesses = guesses(model, sample, self._is_weighted)

    def history(self, model: keras.Model) -> TrainingHistory:
        """Everything that is known of the training of this model."""
        steps = len(self._steps.losses)
        before = 0 if self._earlier is None else len(self._earlier.losses)
        settled = _are_batch_norms_settled(model, before + steps)
        history = TrainingHistory(
            losses=np.asarray(self._steps.losses, "float64"),
            dropout_rate=max(
                (rate for part in sublayers(model) for rate in rates(part)), default=0.0
            ),
            is_weighted=self._is_weighted,
            **self._of_guesses(settled),
            nonfinite=self._first_nonfinite(model),
            **self._of_gradients(model),
            **self._of_units(settled),
            **self._of_epochs(settled),
            **self._of_evaluation(),
        )
        return history if self._earlier is None else joined(self._earlier, history)

    def _first_nonfinite(self, model: keras.Model) -> NonfiniteStep | None:
        """The first step that was not finite, by whatever shows it."""
        found = self._nonfinite.find(self._batches(model))
        bad = np.flatnonzero(~np.isfinite(self._steps.losses))
        if found is None and len(bad):
            step = int(bad[0])
            loss = float(self._steps.losses[step])
            found = NonfiniteStep(step, loss, None, "data")
        return found or self._nonfinite_metric

    def _of_gradients(self, model: keras.Model) -> dict[str, Any]:
        gradients = self._gradients
        assert gradients.ratios is not None
        dimensions = {v.path: len(v.shape) for v in model.variables}
        columns = [
            i
            for i, name in enumerate(gradients.names)
            if dimensions.get(name, 0) > 1 and not name.endswith("embeddings")
        ]
        assert gradients.ratios is not None  # They are recorded by default.
        return {
            "steps": gradients.steps,
            "kernels": [gradients.names[i] for i in columns],
            "norms": gradients.norms[:, columns],
            "global_norms": gradients.global_norms,
            "ratios": gradients.ratios[:, columns],
            "global_ratios": gradients.global_ratios,
        }

    def _of_units(self, settled: bool) -> dict[str, Any]:
        units = self._units
        if units is None or not settled:
            return {}
        return {
            "layers": units.names,
            "dead": units.dead,
            "saturated": units.saturated,
        }

    def _of_guesses(self, settled: bool) -> dict[str, Any]:
        known = self._guesses or Guesses()
        return {
            "guess_loss": known.training,
            # With moving statistics that are partly initial ones, it may lose.
            "validation_guess_loss": known.validation if settled else np.nan,
            "uniform_loss": known.uniform,
        }

    def _of_epochs(self, settled: bool) -> dict[str, Any]:
        rows = np.array(self._epochs, "float64").reshape(-1, 5)
        reported, validation, evaluation, regularisation, penalties = rows.T
        unknown = np.full_like(reported, np.nan)
        return {
            "epoch_losses": reported,
            "validation_losses": validation,
            "evaluation_losses": evaluation if settled else unknown,
            "penalties": penalties,
            "regularisation_gaps": regularisation if settled else unknown,
        }

    def _of_evaluation(self) -> dict[str, Any]:
        if self._evaluation is None:
            return {}
        return {
            "verdict": self._evaluation.verdict,
            "advice": self._evaluation.advice,
        }

    def _batches(self, model: keras.Model) -> Iterator[Any]:
        """Inputs with which to find the layer in which NaN started."""
        if self._data is not None:
            # A layer may fail on one example in thousands.
            rows = rows_of_states(model) or self._samples
            yield from first_batches(
                self._data,
                BATCHES,
                rows,
                prepare=functools.partial(batch_for_keras, model),
            )


def _are_batch_norms_settled(model: keras.Model, steps: int) -> bool:
    """Whether batch norms have seen enough to measure units in inference mode.

    Until then their moving statistics are partly the initial ones, with which half of
    the units may seem dead: a variance of 1 is large beside that of many layers.
    """
    return all(
        part.momentum**steps < LEFT
        for part in sublayers(model)
        if isinstance(part, keras.layers.BatchNormalization) and part.trainable
    )


def _is_finite(value: Any) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return True  # It is no number.
