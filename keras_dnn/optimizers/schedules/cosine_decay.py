"""Cosine decay: the rate falls along half a wave."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._curve import Curve, periods


@keras.saving.register_keras_serializable(package="keras_dnn")
class CosineDecay(Curve):
    r"""Learning rate that falls along half a cosine: slowly, faster, slowly.

    $$
    \eta_t = \eta_0 \left(
    \alpha + (1 - \alpha) \tfrac{1}{2} (1 + \cos(\pi \, t / s)) \right)
    $$

    for $t \le s$; later steps have the last value $\alpha \eta_0$.

    Args:
        initial_learning_rate: $\eta_0$, a float of at least 0.
        decay_steps: $s$, a positive number.
        alpha: $\alpha$, the fraction of the rate that remains at the end, in [0, 1].
        name: name of the schedule.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> from keras_dnn.optimizers.schedules import CosineDecay
        >>> CosineDecay(0.4, decay_steps=30).values([0, 10, 20, 30, 99])
        array([0.4, 0.3, 0.1, 0. , 0. ], dtype=float32)

    Reference:
        Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts",
        2017.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        *,
        name: str = "cosine_decay",
    ) -> None:
        super().__init__(initial_learning_rate, name)
        self.decay_steps = _arguments.number("decay_steps", decay_steps, bounds="()")
        self.alpha = _arguments.number("alpha", alpha, high=1.0, bounds="[]")

    def at(self, t: Tensor) -> Tensor:
        """The formula above."""
        progress = ops.minimum(periods(t, self.decay_steps), 1.0)
        # (1 + cos(π x)) / 2 is sin²((1 - x) π / 2), which is exactly zero at the end.
        remaining = ops.square(ops.sin((1 - progress) * (math.pi / 2)))
        fraction = self.alpha + (1 - self.alpha) * remaining
        return self.initial_learning_rate * fraction

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            **super().get_config(),
            "decay_steps": self.decay_steps,
            "alpha": self.alpha,
        }
