"""Power decay: the rate falls with a power of the step."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._curve import Curve, periods


@keras.saving.register_keras_serializable(package="keras_dnn")
class PowerDecay(Curve):
    r"""Learning rate that falls with a power of the step: fast at first, then slowly.

    $$
    \eta_t = \frac{\eta_0}{(1 + t / s)^c}
    $$

    With $c = 1$ it is halved after $s$ steps, a third after $2s$, a quarter after $3s$.

    Args:
        initial_learning_rate: $\eta_0$, a float of at least 0.
        decay_steps: $s$, a positive number.
        power: $c$, a float of at least 0.
        staircase: whether $t / s$ is rounded down, so that the rate falls in steps.
        name: name of the schedule.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> from keras_dnn.optimizers.schedules import PowerDecay
        >>> PowerDecay(0.12, decay_steps=100).values([0, 100, 200, 300])
        array([0.12, 0.06, 0.04, 0.03], dtype=float32)

    Reference:
        A. Senior, G. Heigold, M. Ranzato and K. Yang, "An empirical study of learning
        rates in deep neural networks for speech recognition", 2013.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        power: float = 1.0,
        staircase: bool = False,
        *,
        name: str = "power_decay",
    ) -> None:
        super().__init__(initial_learning_rate, name)
        self.decay_steps = _arguments.number("decay_steps", decay_steps, bounds="()")
        self.power = _arguments.number("power", power)
        self.staircase = _arguments.switch("staircase", staircase)

    def at(self, t: Tensor) -> Tensor:
        """The formula above."""
        passed = periods(t, self.decay_steps, complete=self.staircase)
        return self.initial_learning_rate / (1 + passed) ** self.power

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            **super().get_config(),
            "decay_steps": self.decay_steps,
            "power": self.power,
            "staircase": self.staircase,
        }
