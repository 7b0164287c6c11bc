"""The 1-cycle policy.

L. N. Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018.
The learning rate rises to its maximum and falls back while the momentum does the
opposite; in a last short phase the rate falls much lower and the momentum stays high.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn.optimizers.schedules._cycle import Anneal, Cycle


@keras.saving.register_keras_serializable(package="keras_dnn")
class OneCycle(Cycle):
    r"""Learning rate that rises to its maximum, falls back and then falls far lower.

    With $T$ total steps, of which step $0$ is the first and step $T - 1$ the last,

    $$
    \eta_0 = \frac{\eta_{max}}{d_0} \to \eta_{max} \to \eta_0 \to
    \eta_{T-1} = \frac{\eta_{max}}{d_0 \, d_1}
    $$

    and these four values are reached exactly, the maximum at step
    `round(warmup_fraction * (T - 1))` and the return to $\eta_0$ at step
    `T - 1 - round(final_fraction * (T - 1))`. Later steps have the last value. A cycle
    too short for these four values has no return to $\eta_0$; with $T = 2$ it has no
    start either, only the maximum and the last value; with $T = 1$ only the maximum.

    Args:
        max_learning_rate: $\eta_{max}$, a positive float.
        total_steps: $T$, the number of optimizer updates in the training, at least 1.
        initial_divisor: $d_0$, at least 1.
        final_divisor: $d_1$, at least 1.
        warmup_fraction: fraction of the training in which the rate rises, in (0, 1).
        final_fraction: fraction of the training in the last phase, in [0, 1). `0.0`
            merges the last two phases into one (as in PyTorch and fastai).
        anneal: `"linear"` or `"cosine"`, the shape of each phase.
        name: name of the schedule.

    Raises:
        ValueError: if a value lies outside its range, or the sum of the two
            fractions is more than 1.

    Example:
        >>> from keras_dnn.optimizers.schedules import OneCycle
        >>> schedule = OneCycle(max_learning_rate=1.0, total_steps=21)
        >>> schedule.values([0, 9, 18, 20, 1000])
        array([1.e-01, 1.e+00, 1.e-01, 1.e-04, 1.e-04], dtype=float32)
        >>> schedule.momentum(high=0.95, low=0.85).values([0, 9, 18, 20])
        array([0.95, 0.85, 0.95, 0.95], dtype=float32)

    Reference:
        L. N. Smith, "A disciplined approach to neural network hyper-parameters:
        Part 1", 2018.
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        *,
        initial_divisor: float = 10.0,
        final_divisor: float = 1000.0,
        warmup_fraction: float = 0.45,
        final_fraction: float = 0.1,
        anneal: Anneal = "linear",
        name: str = "one_cycle",
    ) -> None:
        peak = _arguments.number("max_learning_rate", max_learning_rate, bounds="()")
        self.max_learning_rate = peak
        self.initial_divisor = _arguments.number("initial_divisor", initial_divisor, 1)
        self.final_divisor = _arguments.number("final_divisor", final_divisor, 1)
        self.name = name
        initial = peak / self.initial_divisor
        super().__init__(
            total_steps,
            warmup_fraction,
            final_fraction,
            anneal,
            start=initial,
            peak=peak,
            back=initial,
            last=peak / (self.initial_divisor * self.final_divisor),
        )

    def momentum(self, high: float = 0.95, low: float = 0.85) -> OneCycleMomentum:
        """The momentum for this learning rate: it falls while the rate rises.

        Args:
            high: momentum at both ends and in the last phase, in [0, 1).
            low: momentum when the rate is at its maximum, in [0, high].

        Returns:
            A schedule over the same steps.

        Raises:
            ValueError: if a value lies outside its range.

        Example:
            >>> from keras_dnn.optimizers import Nesterov
            >>> from keras_dnn.optimizers.schedules import OneCycle
            >>> rate = OneCycle(0.1, total_steps=1000)
            >>> optimizer = Nesterov(rate, momentum=rate.momentum())
        """
        return OneCycleMomentum(
            self.total_steps,
            high,
            low,
            warmup_fraction=self.warmup_fraction,
            final_fraction=self.final_fraction,
            anneal=self.anneal,
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            "max_learning_rate": self.max_learning_rate,
            "total_steps": self.total_steps,
            "initial_divisor": self.initial_divisor,
            "final_divisor": self.final_divisor,
            "warmup_fraction": self.warmup_fraction,
            "final_fraction": self.final_fraction,
            "anneal": self.anneal,
            "name": self.name,
        }


@keras.saving.register_keras_serializable(package="keras_dnn")
class OneCycleMomentum(Cycle):
    """Momentum partner of `OneCycle`; made by `OneCycle.momentum`."""

    plot_label = "momentum"

    def __init__(
        self,
        total_steps: int,
        high: float = 0.95,
        low: float = 0.85,
        *,
        warmup_fraction: float = 0.45,
        final_fraction: float = 0.1,
        anneal: Anneal = "linear",
        name: str = "one_cycle_momentum",
    ) -> None:
        self.high = _arguments.number("high", high, high=1.0)
        self.low = _arguments.number("low", low, high=self.high, bounds="[]")
        self.name = name
        super().__init__(
            total_steps,
            warmup_fraction,
            final_fraction,
            anneal,
            start=self.high,
            peak=self.low,
            back=self.high,
            last=self.high,
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            "total_steps": self.total_steps,
            "high": self.high,
            "low": self.low,
            "warmup_fraction": self.warmup_fraction,
            "final_fraction": self.final_fraction,
            "anneal": self.anneal,
            "name": self.name,
        }
