"""Cycles: the curve that a 1-cycle learning rate and its momentum have in common."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import keras
from keras import ops

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Anneal: TypeAlias = Literal["linear", "cosine"]
"""The shape of a curve between two knots."""


def _linear(progress: Tensor) -> Tensor:
    return progress


def _cosine(progress: Tensor) -> Tensor:
    return (1.0 - ops.cos(progress * math.pi)) / 2.0


SHAPES: dict[Anneal, Callable[[Tensor], Tensor]] = {
    "linear": _linear,
    "cosine": _cosine,
}
"""Each maps [0, 1] to [0, 1]: the fraction of the steps to that of the change."""


class Cycle(Schedule):
    """A curve through knots (step, value), annealed between neighbouring ones."""

    def __init__(
        self,
        total_steps: int,
        warmup_fraction: float,
        final_fraction: float,
        anneal: Anneal,
        *,
        start: float,
        peak: float,
        back: float,
        last: float,
    ) -> None:
        self.total_steps = _arguments.count("total_steps", total_steps)
        self.warmup_fraction = _arguments.number(
            "warmup_fraction", warmup_fraction, high=1.0, bounds="()"
        )
        self.final_fraction = _arguments.number(
            # The sum may be 1 up to rounding, as with 0.8 and 0.2.
            "final_fraction",
            final_fraction,
            high=1.0 - self.warmup_fraction + 1e-9,
        )
        self.anneal = _arguments.choice("anneal", anneal, get_args(Anneal))
        self._knots = self._place_knots(start, peak, back, last)

    def _place_knots(
        self, start: float, peak: float, back: float, last: float
    ) -> list[tuple[int, float]]:
        """The steps at which one phase ends and the next begins, with the values."""
        end = self.total_steps - 1
        if end == 0:
            return [(0, peak)]
        if end == 1:
            return [(0, peak), (1, last)]
        top = min(max(round(self.warmup_fraction * end), 1), end - 1)
        turn = end - round(self.final_fraction * end)
        knots = [(0, start), (top, peak), (end, last)]
        if top < turn < end:
            knots.insert(2, (turn, back))
        return knots

    def __call__(self, step: Tensor) -> Tensor:
        """The value at `step`, which may be an int, an array or a tensor."""
        step = ops.convert_to_tensor(step)
        dtype = keras.config.floatx()
        value = ops.full_like(step, self._knots[0][1], dtype=dtype)
        for (start, first), (end, last) in itertools.pairwise(self._knots):
            # Steps are subtracted as integers: as float32, step 20,000,001 would equal
            # its neighbour.
            passed = ops.cast(step - ops.cast(start, step.dtype), dtype)
            progress = ops.clip(passed / (end - start), 0.0, 1.0)
            value = ops.where(passed > 0, self._between(first, last, progress), value)
            # TensorFlow may turn the division into a product, which is not exact.
            value = ops.where(passed < end - start, value, ops.cast(last, dtype))
        return value

    def _between(self, first: float, last: float, progress: Tensor) -> Tensor:
        value = first + (last - first) * SHAPES[self.anneal](progress)
        # Rounding must not exceed the maximum.
        return ops.clip(value, min(first, last), max(first, last))

    def plot(self, steps: int | None = None, ax: Axes | None = None) -> Axes:
        """Plots the cycle.

        Args:
            steps: how many steps to plot; by default the complete cycle.
            ax: where to plot; a new figure if `None`.

        Returns:
            The axes with the plot.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        return super().plot(self.total_steps if steps is None else steps, ax)
