"""What a range test returns."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from keras_dnn._result import Result
from keras_dnn.tuning import _range_test_places as places
from keras_dnn.tuning import _range_test_rules as rules
from keras_dnn.tuning import _sweep_reasons as reasons
from keras_dnn.tuning._sweep_recorder import SweepRecorder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Sweep: TypeAlias = Literal["exponential", "linear"]

FEWEST = 10
"""The least number of losses that make a curve."""


@dataclasses.dataclass(frozen=True)
class RangeTest(Result):
    """What `find_learning_rate` found; `print` it, or `plot()` it.

    Attributes:
        rates: the learning rate of each step.
        losses: the loss of each step, on its own batch; NaN from where a weight is not
            finite, even if the loss still is.
        smoothed: their exponentially weighted averages, with bias correction.
        trend: the curve that the suggestions are read from: local straight lines, which
            do not lag behind as an average does. NaN from where the loss has risen
            clearly above its first values.
        suggestions: the rate by each rule: `"constant"` and `"peak"` are the advice
            below. The others are places on the curve, which move when `steps` does:
            `"valley"` is halfway down the deepest descent, `"steepest"` where the loss
            falls fastest per decade, `"minimum"` a tenth of the rate with the lowest
            loss, `"slide"` the last rate before the minimum at which the loss falls at
            least half as fast as at the steepest.
        suggestion: for a rate that stays, or `None` if the curve permits no suggestion.
        max_learning_rate: for the peak of a rate that comes down, as in
            `OneCycleScheduler` or `CosineDecay`; `None` without a suggestion.
        interval: contains 90% of the suggestions for other noise of the losses and
            other initial weights; with `trials`, half of the way to the neighbouring
            rates on both sides. `None` without a suggestion.
        reason: why there is no suggestion, else empty.
        note: what limits the advice, else empty.
        trials: with `trials`, the loss of each short training by its rate: the mean
            over its second half, infinite if it diverged.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    trend: np.ndarray
    suggestions: dict[str, float]
    suggestion: float | None
    max_learning_rate: float | None
    interval: tuple[float, float] | None
    reason: str
    note: str
    trials: dict[float, float]

    def __str__(self) -> str:
        tried = f"{len(self.rates)} steps"
        if len(self.rates):
            tried += f" from {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        if self.suggestion is None or self.interval is None:
            return f"Learning rate: no suggestion, {self.reason} ({tried})"
        low, high = self.interval
        found = {k: v for k, v in self.suggestions.items() if k in places.PLACES}
        by_place = ", ".join(f"{k} {v:.2g}" for k, v in found.items())
        advice = (
            f"Learning rate: {self.suggestion:.2g} [{low:.2g}, {high:.2g}] for a rate "
            f"that stays, {self.max_learning_rate:.2g} for a peak ({tried})"
        )
        trained = ", ".join(f"{k:.2g} {v:.3g}" for k, v in self.trials.items())
        lines = advice, f"By place: {by_place}", trained and f"Trials: {trained}"
        return "\n".join(filter(None, (*lines, self.note)))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws the losses over the rates, with the suggestions.

        Args:
            ax: where to draw; a new figure if `None`.

        Returns:
            The axes drawn on.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_dnn import plotting

        return plotting.range_test(
            self.rates, self.losses, self.trend, self.suggestions, self.interval, ax
        )


def read(
    recorder: SweepRecorder,
    sweep: Sweep,
    smoothing: float,
    seed: int,
    *,
    steps: int,
    adaptive: bool,
    nonfinite_data: str = "",
) -> RangeTest:
    """What the losses of a finished sweep say.

    Args:
        recorder: what the sweep recorded.
        sweep: whether it was exponential.
        smoothing: weight of the past in the smoothed loss.
        seed: seed of the interval.
        steps: how long the sweep was to be.
        adaptive: whether the steps of the optimizer are scaled by past gradients.
        nonfinite_data: which data are not finite, if any are.
    """
    rates, losses = recorder.updates()
    end = rules.usable(losses)
    undecided = RangeTest(
        rates=rates,
        losses=losses,
        smoothed=rules.smoothed(losses, smoothing),
        trend=np.full(len(losses), math.nan),
        suggestions={},
        suggestion=None,
        max_learning_rate=None,
        interval=None,
        reason="",
        note="",
        trials={},
    )
    if nonfinite_data and not np.isfinite(losses).all():
        reason = f"the loss is not finite, since {nonfinite_data}"
        return dataclasses.replace(undecided, reason=reason)
    if end < FEWEST:
        return dataclasses.replace(
            undecided, reason=reasons.why_so_short(rates, losses, end)
        )
    curve = rules.Curve(rates[:end], losses[:end], sweep == "exponential")
    undecided.trend[:end] = curve.values
    reason = rules.reason_against(curve)
    if reason:
        return dataclasses.replace(undecided, reason=reason)
    kind: rules.Kind = "adaptive" if adaptive else "plain"
    suggestion, peak = rules.advice(curve, kind)
    return dataclasses.replace(
        undecided,
        suggestions={"constant": suggestion, "peak": peak, **places.places(curve)},
        suggestion=suggestion,
        max_learning_rate=peak,
        interval=rules.interval(curve, kind, seed),
        note=reasons.how_it_ended(losses, end, steps),
    )
