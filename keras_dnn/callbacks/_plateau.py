"""Counts of evaluations without improvement, apart from models and files."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Plateau:
    """What is known after some evaluations; `after` gives the next state.

    Attributes:
        best: the best value so far, NaN before the first.
        wait: evaluations in a row without improvement.
        cooling: evaluations of the cooldown that are left.
        improved: whether the last evaluation was an improvement.
        reached: whether the last evaluation completed a plateau.
    """

    best: float = math.nan
    wait: int = 0
    cooling: int = 0
    improved: bool = False
    reached: bool = False

    def after(
        self,
        value: float,
        *,
        patience: int,
        cooldown: int = 0,
        min_delta: float = 0.0,
        relative: bool = False,
        maximise: bool = False,
    ) -> Plateau:
        """The state after one more evaluation.

        Args:
            value: of the metric.
            patience: evaluations in a row without improvement that make a plateau.
            cooldown: evaluations after a plateau that are not counted.
            min_delta: an improvement beats the best value by more than this.
            relative: whether `min_delta` is a fraction of the best value's size.
            maximise: whether higher values are better.
        """
        size = abs(self.best) if relative else 1.0
        gain = value - self.best if maximise else self.best - value
        first = math.isnan(self.best)
        # What is not finite has failed, whatever it compares to.
        improved = math.isfinite(value) and (first or gain > min_delta * size)
        wait = 0 if improved or self.cooling else self.wait + 1
        reached = wait >= patience
        return Plateau(
            best=value if improved else self.best,
            wait=0 if reached else wait,
            cooling=cooldown if reached else max(self.cooling - 1, 0),
            improved=improved,
            reached=reached,
        )
