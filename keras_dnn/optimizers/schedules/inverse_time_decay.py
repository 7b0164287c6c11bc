"""Inverse time decay: the rate falls like 1 / (1 + k t)."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._curve import Curve, periods


@keras.saving.register_keras_serializable(package="keras_dnn")
class InverseTimeDecay(Curve):
    r"""Learning rate that falls with the inverse of the step.

    $$
    \eta_t = \frac{\eta_0}{1 + k \, t / s}
    $$

    With $s$ the number of steps in an epoch it is the `learning_rate / (1 + decay *
    epoch)` of many courses, computed at every step.

    Args:
        initial_learning_rate: $\eta_0$, a float of at least 0.
        decay_steps: $s$, a positive number.
        decay_rate: $k$, a float of at least 0.
        name: name of the schedule.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> from keras_dnn.optimizers.schedules import InverseTimeDecay
        >>> InverseTimeDecay(0.6, decay_steps=10, decay_rate=0.5).values([0, 20, 40])
        array([0.6, 0.3, 0.2], dtype=float32)

    Reference:
        Léon Bottou, "Stochastic gradient descent tricks", 2012.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float = 1.0,
        *,
        name: str = "inverse_time_decay",
    ) -> None:
        super().__init__(initial_learning_rate, name)
        self.decay_steps = _arguments.number("decay_steps", decay_steps, bounds="()")
        self.decay_rate = _arguments.number("decay_rate", decay_rate)

    def at(self, t: Tensor) -> Tensor:
        """The formula above."""
        passed = periods(t, self.decay_steps)
        return self.initial_learning_rate / (1 + self.decay_rate * passed)

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            **super().get_config(),
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
        }
