"""How a training went, as arrays."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any, Self

import numpy as np

from keras_dnn.callbacks._doctor.first_bad_step import BadStep


@dataclasses.dataclass(frozen=True)
class Course:
    """What was recorded so far.

    Attributes:
        losses: of every step.
        steps: the updates at which gradients were recorded.
        norms: of the gradients of kernels, bottom first, of shape (records, kernels).
        kernels: their paths.
        global_norms: of all gradients, a number a record.
        ratios: of updates to weights, of the shape of `norms`.
        global_ratios: of all weights.
        layers: paths of the layers whose outputs were looked at.
        dead: share of dead units, of shape (looks, layers).
        saturated: share of saturated units, of the same shape.
        epochs: the reported loss of each epoch.
        validation: the validation loss of each epoch, NaN where there was none.
        evaluation: the training loss with dropout off, NaN where it is not known.
        noise: how much higher it is with dropout on.
        dropout: the highest rate of dropout in the network.
        guess: the loss of a classifier that guesses, NaN where that can't be told.
        verdict: of `TrainingEvaluation`.
        advice: of `TrainingEvaluation`.
        bad: the first step that was not finite.
    """

    losses: np.ndarray
    steps: np.ndarray
    norms: np.ndarray
    kernels: list[str]
    global_norms: np.ndarray
    ratios: np.ndarray
    global_ratios: np.ndarray
    layers: list[str]
    dead: np.ndarray
    saturated: np.ndarray
    epochs: np.ndarray
    validation: np.ndarray
    evaluation: np.ndarray
    noise: np.ndarray
    dropout: float
    guess: float
    verdict: str
    advice: str
    bad: BadStep | None

    @property
    def first(self) -> float:
        """The loss of the first steps."""
        return float(np.mean(self.losses[: max(1, min(5, len(self.losses) // 20))]))

    @property
    def last(self) -> float:
        """The loss of the last tenth of the steps."""
        return float(np.mean(self.losses[-max(1, len(self.losses) // 10) :]))

    @property
    def learnt(self) -> bool:
        """Whether the loss has fallen by a third or more."""
        return self.last < 2 / 3 * self.first

    def after(self, earlier: Course) -> Course:
        """The whole course, of which this is what came after `earlier`."""
        joined = {
            field.name: _joined(getattr(earlier, field.name), getattr(self, field.name))
            for field in dataclasses.fields(self)
        }
        if self.verdict == "unknown":
            joined |= {"verdict": earlier.verdict, "advice": earlier.advice}
        return Course(**{**joined, "bad": earlier.bad or self.bad})

    def packed(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            field.name: _packed(getattr(self, field.name))
            for field in dataclasses.fields(self)
        }

    @classmethod
    def unpacked(cls, packed: dict[str, Any]) -> Self:
        """What `packed` was called on, to single precision."""
        found = {name: _unpacked(value) for name, value in packed.items()}
        bad = found["bad"]
        return cls(**{**found, "bad": None if bad is None else BadStep(*bad)})


def _joined(earlier: Any, later: Any) -> Any:
    if not isinstance(later, np.ndarray):
        return later or earlier
    if not later.size:
        return earlier
    # Other layers are trained now: what was seen of those before is of no use.
    alike = earlier.shape[1:] == later.shape[1:]
    return np.concatenate([earlier, later]) if alike else later


def _packed(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    # Written digit by digit, a long training would take its time at each epoch's end.
    numbers = base64.b64encode(value.astype("<f4").tobytes()).decode("ascii")
    return {"shape": value.shape, "float32": numbers}


def _unpacked(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    numbers = np.frombuffer(base64.b64decode(value["float32"]), "<f4")
    return numbers.reshape(value["shape"]).astype("float64")
