"""What `Doctor` has recorded of a training: what its checks examine."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

import numpy as np

from keras_dnn._result import Result

Origin: TypeAlias = Literal["weights", "outputs", "gradient", "data"]

Verdict: TypeAlias = Literal["overfitting", "underfitting", "fine", "unknown"]


@dataclasses.dataclass(frozen=True)
class NonfiniteStep(Result):
    """The first step whose loss or gradients were NaN or infinite.

    Attributes:
        step: its index, from 0.
        loss: the loss at that step.
        layer: path of the layer in which it started, `None` if none was found.
        origin: where in that layer: its `"weights"`, its `"outputs"` or its
            `"gradient"`; `"data"` if no layer was found.
        metric: its name in `History`, if only the metrics of an epoch show it.
    """

    step: int
    loss: float
    layer: str | None
    origin: Origin
    metric: str | None = None


def _none() -> np.ndarray:
    return np.empty(0)


def _no_rows() -> np.ndarray:
    return np.empty((0, 0))


@dataclasses.dataclass(frozen=True)
class TrainingHistory(Result):
    """What is known of a training so far: losses, gradients, updates and units.

    A check that is registered with `when="during"` examines one. What was not recorded
    is empty or NaN, and so are fields that are left out: a check can be tested on a
    `TrainingHistory(losses=...)`.

    Attributes:
        losses: the loss of each step.
        steps: the updates at which gradients were recorded, of shape (records,).
        kernels: paths of the kernels, in the order of the model.
        norms: norms of the kernels' gradients, of shape (records, kernels).
        global_norms: norms of all gradients together, of shape (records,).
        ratios: norms of the kernels' updates divided by those of the kernels, of shape
            (records, kernels).
        global_ratios: the same ratio for all weights together, of shape (records,).
        layers: paths of the layers whose outputs were measured.
        dead: fraction of dead units, at the start of training and after each epoch, of
            shape (epochs + 1, layers).
        saturated: fraction of saturated units, of the same shape; NaN for a layer whose
            activation has no flat side.
        epoch_losses: the loss that `fit` reported for each epoch.
        validation_losses: the validation loss of each epoch; NaN without validation.
        evaluation_losses: the training loss of each epoch with dropout off; NaN where
            it is unknown.
        regularisation_gaps: how much higher that loss is with dropout on.
        dropout_rate: the highest dropout rate in the model.
        guess_loss: the loss of the best answer that is the same for all training data
            (the shares of the classes, the mean or the median of the targets, or what
            a search finds); NaN where it is unknown.
        validation_guess_loss: the same for validation data.
        uniform_loss: the loss of equal probabilities for all classes, with which a new
            classifier begins; NaN where it is unknown.
        penalties: what regularisers of weights added to the loss at the end of each
            epoch; NaN where it is unknown.
        is_weighted: whether examples had weights in training, such as those of classes.
        verdict: that of `TrainingEvaluation`, `"unknown"` without one.
        advice: that of `TrainingEvaluation`.
        nonfinite: the first step that was not finite, `None` if all were.
    """

    losses: np.ndarray = dataclasses.field(default_factory=_none)
    steps: np.ndarray = dataclasses.field(default_factory=_none)
    kernels: list[str] = dataclasses.field(default_factory=list)
    norms: np.ndarray = dataclasses.field(default_factory=_no_rows)
    global_norms: np.ndarray = dataclasses.field(default_factory=_none)
    ratios: np.ndarray = dataclasses.field(default_factory=_no_rows)
    global_ratios: np.ndarray = dataclasses.field(default_factory=_none)
    layers: list[str] = dataclasses.field(default_factory=list)
    dead: np.ndarray = dataclasses.field(default_factory=_no_rows)
    saturated: np.ndarray = dataclasses.field(default_factory=_no_rows)
    epoch_losses: np.ndarray = dataclasses.field(default_factory=_none)
    validation_losses: np.ndarray = dataclasses.field(default_factory=_none)
    evaluation_losses: np.ndarray = dataclasses.field(default_factory=_none)
    regularisation_gaps: np.ndarray = dataclasses.field(default_factory=_none)
    dropout_rate: float = 0.0
    guess_loss: float = float("nan")
    validation_guess_loss: float = float("nan")
    uniform_loss: float = float("nan")
    penalties: np.ndarray = dataclasses.field(default_factory=_none)
    is_weighted: bool = False
    verdict: Verdict = "unknown"
    advice: str = ""
    nonfinite: NonfiniteStep | None = None

    @property
    def first_loss(self) -> float:
        """The mean loss of the first twentieth of the steps, of five at most."""
        return float(np.mean(self.losses[: max(1, min(5, len(self.losses) // 20))]))

    @property
    def last_loss(self) -> float:
        """The mean loss of the last tenth of the steps."""
        return float(np.mean(self.losses[-max(1, len(self.losses) // 10) :]))

    @property
    def has_learnt(self) -> bool:
        """Whether the loss has fallen by a third or more."""
        return self.last_loss < 2 / 3 * self.first_loss

    @property
    def data_losses(self) -> np.ndarray:
        """The training loss of each epoch on the data alone, without dropout if known.

        NaN where it is unknown, or weighted otherwise than a guess.
        """
        reported = self.epoch_losses
        if self.is_weighted:
            reported = np.full(len(reported), np.nan)
        if self.evaluation_losses.size:
            known = np.isfinite(self.evaluation_losses)
            reported = np.where(known, self.evaluation_losses, reported)
        return np.asarray(reported - self._penalties())

    @property
    def validation_data_losses(self) -> np.ndarray:
        """The validation loss of each epoch on the data alone."""
        return np.asarray(self.validation_losses - self._penalties())

    def _penalties(self) -> np.ndarray:
        known = self.penalties.shape == self.epoch_losses.shape
        return self.penalties if known else np.zeros(self.epoch_losses.shape)
