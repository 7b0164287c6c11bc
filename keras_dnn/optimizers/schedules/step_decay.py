"""Step decay: the rate drops by a factor at regular steps."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._curve import Curve, periods


@keras.saving.register_keras_serializable(package="keras_dnn")
class StepDecay(Curve):
    r"""Learning rate that drops by a factor every `drop_every` steps.

    $$
    \eta_t = \eta_0 \, f^{\lfloor t / s \rfloor}
    $$

    It drops *at* step $s$, the first one with the lower rate.

    Args:
        initial_learning_rate: $\eta_0$, a float of at least 0.
        drop_every: $s$, a positive number of steps.
        factor: $f$, a float in (0, 1].
        name: name of the schedule.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> from keras_dnn.optimizers.schedules import StepDecay
        >>> StepDecay(0.5, drop_every=20).values([0, 19, 20, 40])
        array([0.5  , 0.5  , 0.05 , 0.005], dtype=float32)

    Reference:
        K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image
        recognition", 2016.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        drop_every: float,
        factor: float = 0.1,
        *,
        name: str = "step_decay",
    ) -> None:
        super().__init__(initial_learning_rate, name)
        self.drop_every = _arguments.number("drop_every", drop_every, bounds="()")
        self.factor = _arguments.number("factor", factor, high=1.0, bounds="(]")

    def at(self, t: Tensor) -> Tensor:
        """The formula above."""
        drops = periods(t, self.drop_every, complete=True)
        return self.initial_learning_rate * self.factor**drops

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            **super().get_config(),
            "drop_every": self.drop_every,
            "factor": self.factor,
        }
