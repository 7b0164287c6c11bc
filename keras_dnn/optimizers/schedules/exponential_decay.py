"""Exponential decay: the rate falls by the same factor in equal times."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._curve import Curve, periods


@keras.saving.register_keras_serializable(package="keras_dnn")
class ExponentialDecay(Curve):
    r"""Learning rate that falls by the same factor every `decay_steps` steps.

    $$
    \eta_t = \eta_0 \, r^{t / s}
    $$

    Args:
        initial_learning_rate: $\eta_0$, a float of at least 0.
        decay_steps: $s$, a positive number: after $s$ steps the rate is multiplied by
            `decay_rate`.
        decay_rate: $r$, a float in (0, 1].
        staircase: whether $t / s$ is rounded down, so that the rate falls in steps.
        name: name of the schedule.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> from keras_dnn.optimizers.schedules import ExponentialDecay
        >>> ExponentialDecay(0.5, decay_steps=20).values([0, 20, 40])
        array([0.5  , 0.05 , 0.005], dtype=float32)

    Reference:
        A. Senior, G. Heigold, M. Ranzato and K. Yang, "An empirical study of learning
        rates in deep neural networks for speech recognition", 2013.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float = 0.1,
        staircase: bool = False,
        *,
        name: str = "exponential_decay",
    ) -> None:
        super().__init__(initial_learning_rate, name)
        self.decay_steps = _arguments.number("decay_steps", decay_steps, bounds="()")
        self.decay_rate = _arguments.number(
            "decay_rate", decay_rate, high=1.0, bounds="(]"
        )
        self.staircase = _arguments.switch("staircase", staircase)

    def at(self, t: Tensor) -> Tensor:
        """The formula above."""
        passed = periods(t, self.decay_steps, complete=self.staircase)
        return self.initial_learning_rate * self.decay_rate**passed

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            **super().get_config(),
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
            "staircase": self.staircase,
        }
