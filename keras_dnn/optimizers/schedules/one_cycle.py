"""The 1-cycle policy.

L. N. Smith, "A disciplined approach to neural network hyper-parameters: Part 1", 2018.
The rate climbs to its maximum and comes back while the momentum goes the other way;
a last short phase takes the rate far down with the momentum high.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class _Cycle(Schedule):
    """A curve through knots (step, value), annealed between each two of them."""

    def __init__(
        self,
        total_steps: int,
        warmup_fraction: float,
        final_fraction: float,
        anneal: str,
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
            # Written so that 0.8 and 0.2, which come to 1, are not too much.
            "final_fraction",
            final_fraction,
            high=1.0 - self.warmup_fraction + 1e-9,
        )
        self.anneal = _arguments.choice("anneal", anneal, ("linear", "cosine"))
        self._knots = self._meet(start, peak, back, last)

    def _meet(
        self, start: float, peak: float, back: float, last: float
    ) -> list[tuple[int, float]]:
        """The steps at which the phases meet, with the values there."""
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
            # Whole steps are subtracted before they become floats: float32 cannot
            # tell step 20,000,001 from its neighbour, but it can tell 1 from 2.
            passed = ops.cast(step - ops.cast(start, step.dtype), dtype)
            share = ops.clip(passed / (end - start), 0.0, 1.0)
            value = ops.where(passed > 0, self._between(first, last, share), value)
            # TensorFlow may turn a division into a product, which is not exact.
            value = ops.where(passed < end - start, value, ops.cast(last, dtype))
        return value

    def _between(self, first: float, last: float, share: Tensor) -> Tensor:
        if self.anneal == "cosine":
            share = (1.0 - ops.cos(share * 3.141592653589793)) / 2.0
        value = first + (last - first) * share
        # Rounding must not lead past the maximum.
        return ops.clip(value, min(first, last), max(first, last))

    def plot(self, steps: int | None = None, ax: Axes | None = None) -> Axes:
        """Draws the cycle.

        Args:
            steps: how many steps to draw; by default the whole cycle.
            ax: where to draw; a new figure if `None`.

        Returns:
            The axes drawn on.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        return super().plot(self.total_steps if steps is None else steps, ax)


@keras.saving.register_keras_serializable(package="keras_dnn")
class OneCycle(_Cycle):
    r"""Learning rate that climbs to its maximum, comes back and then goes far down.

    With $T$ total steps, of which step $0$ is the first and step $T - 1$ the last,

    $$
    \eta_0 = \frac{\eta_{max}}{d_0} \to \eta_{max} \to \eta_0 \to
    \eta_{T-1} = \frac{\eta_{max}}{d_0 \, d_1}
    $$

    and these four values are met exactly, the maximum at step
    `round(warmup_fraction * (T - 1))` and the return to $\eta_0$ at step
    `T - 1 - round(final_fraction * (T - 1))`. Later steps hold the last value. A cycle
    too short for four knots drops the return to $\eta_0$ first, then the start: with
    $T = 2$ it is the maximum, then the last value; with $T = 1$ the maximum.

    Args:
        max_learning_rate: $\eta_{max}$, a positive float.
        total_steps: $T$, the count of optimizer updates in the training, at least 1.
        initial_divisor: $d_0$, at least 1.
        final_divisor: $d_1$, at least 1.
        warmup_fraction: share of the training in which the rate climbs, in (0, 1).
        final_fraction: share of the training in the last phase, in [0, 1). `0.0` merges
            the last two phases into one (the form of PyTorch and fastai).
        anneal: `"linear"` or `"cosine"`, the shape of each phase.
        name: name of the schedule.

    Raises:
        ValueError: if a value lies outside its range, or the two fractions come to
            more than 1.

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
        anneal: str = "linear",
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
        """The momentum that goes with this rate: down while the rate goes up.

        Args:
            high: momentum at both ends and through the last phase, in [0, 1).
            low: momentum where the rate is at its maximum, in [0, high].

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
class OneCycleMomentum(_Cycle):
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
        anneal: str = "linear",
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
