"""Inverse square root decay: the rate falls like 1 / √t."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._curve import Curve, periods


@keras.saving.register_keras_serializable(package="keras_dnn")
class InverseSquareRootDecay(Curve):
    r"""Learning rate that falls with the inverse square root of the step.

    $$
    \eta_t = \frac{\eta_0}{\sqrt{\max(1, t / s)}}
    $$

    It is constant for the first $s$ steps; put a `Warmup` in front to replace them.

    Args:
        initial_learning_rate: $\eta_0$, a float of at least 0.
        decay_steps: $s$, a positive number.
        name: name of the schedule.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> from keras_dnn.optimizers.schedules import InverseSquareRootDecay
        >>> InverseSquareRootDecay(0.6, decay_steps=10).values([0, 10, 40, 90])
        array([0.6, 0.6, 0.3, 0.2], dtype=float32)

    Reference:
        Vaswani and others, "Attention is all you need", 2017.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float = 1,
        *,
        name: str = "inverse_square_root_decay",
    ) -> None:
        super().__init__(initial_learning_rate, name)
        self.decay_steps = _arguments.number("decay_steps", decay_steps, bounds="()")

    def at(self, t: Tensor) -> Tensor:
        """The formula above."""
        passed = periods(t, self.decay_steps)
        return self.initial_learning_rate / ops.sqrt(ops.maximum(passed, 1.0))

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            **super().get_config(),
            "decay_steps": self.decay_steps,
        }
