"""Short trainings at rates around the advice of a sweep."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from keras_dnn.tuning._range_test_result import RangeTest
from keras_dnn.tuning._sweep_recorder import SweepRecorder

SPACING = math.sqrt(10)
"""Between the rates: half a decade."""

OF_PEAK = 1.8
"""The peak as a multiple of the best constant rate of the short trainings."""


class ShortTraining(SweepRecorder):
    """Records a training at one rate, and ends it when it is complete or diverges."""

    def updates(self) -> tuple[np.ndarray, np.ndarray]:
        """Rate and mean loss of each completed update."""
        every = self.batches_per_step
        count = min(len(self.losses) // every, self.length)
        losses = self.losses[: count * every].reshape(count, every).mean(axis=1)
        return self.learning_rates[: count * every : every], losses

    def loss(self) -> float:
        """The mean loss of the second half; infinite if the training diverged."""
        losses = self.updates()[1]
        if len(losses) < self.length or self._diverges(losses):
            return math.inf
        return float(losses[self.length // 2 :].mean())


def rates_around(suggestion: float, count: int) -> list[float]:
    """As many rates, half a decade apart, with the suggestion in their middle."""
    offsets = np.arange(count) - (count - 1) / 2
    return [float(suggestion * SPACING**offset) for offset in offsets]


def refined(found: RangeTest, losses: dict[float, float]) -> RangeTest:
    """A result with the advice of short trainings.

    Args:
        found: the result of the sweep.
        losses: the loss of each short training by its rate.
    """
    found = dataclasses.replace(found, trials=losses)
    best = min(losses, key=lambda rate: losses[rate])
    if not math.isfinite(losses[best]):
        note = "Every short training diverged, so the advice is that of the sweep"
        return dataclasses.replace(found, note=note)
    peak = OF_PEAK * best
    return dataclasses.replace(
        found,
        suggestions=found.suggestions | {"constant": best, "peak": peak},
        suggestion=best,
        max_learning_rate=peak,
        interval=(best / math.sqrt(SPACING), best * math.sqrt(SPACING)),
    )
