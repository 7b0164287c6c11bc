"""Advice on the learning rate, read from the losses of a range test.

A place on the curve moves with the number of steps, because a slower sweep has learnt
more before it comes to a rate. The *sum* of the rates up to a place does not: it is the
time of gradient flow that the descent takes. The advice is this time, multiplied by
what `benchmarks/compare_rate_advice.py` measured, below a fraction of the last usable
rate. Scaling the loss or adding a constant to it changes none of it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

BANDWIDTH = 0.04
"""Bandwidth of the trend as a fraction of the sweep: a third of a decade of eight."""

CONFIDENCE = 5.0
"""Standard errors that the descent must exceed."""

SURE = 3.0
"""Standard errors by which the loss must rise above its lowest value to have risen."""

FIRST_HALF = 10
"""The steps within which half of the descent means that the sweep began too high."""


Kind: TypeAlias = Literal["plain", "adaptive"]
"""Whether an update rule scales its steps by past gradients."""


class Factors(NamedTuple):
    """What the advice is: the lower of two products.

    Attributes:
        of_sum: times the sum of the rates in which half of the descent is done.
        of_limit: times the rate that is too high: for a constant rate that at which a
            tenth of the descent is lost again, for a peak the last usable one.
    """

    of_sum: float
    of_limit: float


CONSTANT: dict[Kind, Factors] = {
    "plain": Factors(3.0, 1 / 5),
    "adaptive": Factors(0.75, 1 / 15),
}
PEAK: dict[Kind, Factors] = {
    "plain": Factors(5.0, 1 / 5),
    "adaptive": Factors(1.5, 1 / 15),
}

SPREAD = 0.3
"""Standard deviation of the logarithms of both from one initialisation to another."""


def smoothed(losses: np.ndarray, smoothing: float) -> np.ndarray:
    """Exponentially weighted averages with bias correction."""
    average, averages = 0.0, []
    for i, loss in enumerate(losses, start=1):
        average = smoothing * average + (1 - smoothing) * loss
        averages.append(average / (1 - smoothing**i))
    return np.array(averages)


def first_loss(losses: np.ndarray) -> float:
    """The median of the first tenth of the losses, and at least five."""
    return float(np.median(losses[: max(5, len(losses) // 10)]))


def noise_of_one(losses: np.ndarray) -> float:
    """The standard deviation of a loss around its neighbours, for normal noise."""
    return float(1.05 * np.median(np.abs(np.diff(losses))))


def running_medians(losses: np.ndarray) -> np.ndarray:
    """Medians of five neighbours, which one or two losses that leap do not change."""
    padded = np.pad(losses, 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 5)
    medians: np.ndarray = np.median(windows, axis=1)
    return medians


def usable(losses: np.ndarray) -> int:
    """How many losses come before the curve is clearly above its first values."""
    finite = np.isfinite(losses)
    end = len(losses) if finite.all() else int(np.argmin(finite))
    if end < 5:
        return end
    medians = running_medians(losses[:end])
    lowest = int(np.argmin(medians))
    # Past its lowest value the noise may be that of divergence.
    noise = noise_of_one(losses[: min(end, max(30, lowest + 1))])
    limit = first_loss(losses[:end]) + 3 * noise
    above = np.flatnonzero(medians[lowest:] > limit)
    return lowest + int(above[0]) if above.size else end


class Trend:
    """The curve of the losses, smoothed without the lag of a running average.

    At each rate a straight line is fitted to the losses around it, weighted by their
    distance. Values and slopes are linear in the losses: matrix products.

    Args:
        positions: increasing positions of the losses: the logarithms of the rates, or
            the rates of a linear sweep.
    """

    def __init__(self, positions: np.ndarray) -> None:
        distance = max(positions[-1] - positions[0], 1e-300)
        offsets = (positions[None, :] - positions[:, None]) / distance
        width = max(BANDWIDTH, 3 / len(positions))
        weights = np.exp(-0.5 * (offsets / width) ** 2)
        s0, s1, s2 = (
            np.sum(weights * offsets**k, axis=1, keepdims=True) for k in range(3)
        )
        determinant = s0 * s2 - s1**2
        self.values_of = (s2 - s1 * offsets) * weights / determinant
        self.slopes_of = (s0 * offsets - s1) * weights / determinant


class Curve:
    """A descent without what lies above its start: there a loss says only "above".

    Args:
        rates: the rates of the usable losses.
        losses: the usable losses, at least five.
        exponential: whether the logarithms of the rates are equally far apart.
    """

    def __init__(
        self, rates: np.ndarray, losses: np.ndarray, exponential: bool = True
    ) -> None:
        self.rates = rates
        self.first = first_loss(losses)
        self.losses = np.minimum(losses, self.first + noise_of_one(losses))
        self.trend = Trend(np.log(rates) if exponential else rates)
        self.values = self.trend.values_of @ self.losses
        self.lowest = int(np.argmin(self.values))
        self.fall = self.first - self.values[self.lowest]

    def half(self) -> int:
        """The step at which half of the descent is done."""
        return half_of_descent(self.values, self.first)

    def relapse(self) -> int:
        """The step at which a tenth of the descent is lost again, or the last one.

        What could be noise counts as nothing lost.
        """
        return self.relapse_of(self.losses)

    def relapse_of(self, losses: np.ndarray) -> int:
        """That of other losses at these rates."""
        values = self.trend.values_of @ running_medians(losses)
        lowest = int(np.argmin(values))
        fall = first_loss(losses) - values[lowest]
        limit = values[lowest] + max(fall / 10, SURE * self.error_of_lowest())
        above = np.flatnonzero(values[lowest:] > limit)
        return lowest + int(above[0]) if above.size else len(values) - 1

    def error_of_lowest(self) -> float:
        """The standard error of the lowest value of the trend."""
        weights = self.trend.values_of[self.lowest]
        return float(self.noise()[self.lowest] * np.linalg.norm(weights))

    def certainty(self) -> float:
        """The descent in standard errors: of the first losses, and of the lowest."""
        scale = self.noise()
        first = 1.25 * scale[0] / np.sqrt(max(5, len(self.losses) // 10))
        error = (
            np.hypot(first, self.error_of_lowest()) + 1e-9 * np.abs(self.losses).max()
        )
        return float(self.fall / error) if error > 0 else 0.0

    def noise(self) -> np.ndarray:
        """The standard deviation of the losses around each place of the curve."""
        until = max(30, self.lowest + 1)
        return local_scale(self.residuals()[:until], len(self.losses))

    def residuals(self) -> np.ndarray:
        """What the trend leaves, enlarged by what it took of each loss."""
        leverage = np.clip(np.diag(self.trend.values_of), 0, 0.99)
        residuals: np.ndarray = (self.losses - self.values) / np.sqrt(1 - leverage)
        return residuals


def half_of_descent(values: np.ndarray, first: float) -> int:
    """Where a trend is first halfway from this loss to its lowest value."""
    return int(np.argmax(values <= (first + values.min()) / 2))


def local_scale(residuals: np.ndarray, count: int, around: int = 15) -> np.ndarray:
    """The size of the residuals around each of `count` places, held past their end.

    It is the scaled median of the nearest ones, and at least that of all. Losses that
    are rounded coarsely have a median of zero: there it is the standard deviation of
    all.
    """
    sizes = np.abs(residuals)
    overall = 1.4826 * float(np.median(sizes))
    if overall == 0:
        return np.full(count, float(np.std(residuals)))
    if len(sizes) <= around:
        return np.full(count, overall)
    padded = np.pad(sizes, around // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, around)
    scale = np.maximum(1.4826 * np.median(windows, axis=1), overall)
    return np.pad(scale, (0, count - len(scale)), mode="edge")


# Advice -------------------------------------------------------------------------------


class Advice(NamedTuple):
    """What a curve advises.

    Attributes:
        suggestion: for a rate that stays.
        max_learning_rate: for the peak of a rate that comes down.
    """

    suggestion: float
    max_learning_rate: float


def advice(curve: Curve, kind: Kind) -> Advice:
    """The rates that a curve advises to a `"plain"` or an `"adaptive"` rule."""
    walked = curve.rates[: curve.half() + 1].sum()
    return Advice(
        lower(CONSTANT[kind], walked, curve.rates[curve.relapse()]),
        lower(PEAK[kind], walked, curve.rates[-1]),
    )


def lower(factors: Factors, walked: float, limit: float) -> float:
    """The lower of both products."""
    return float(min(factors.of_sum * walked, factors.of_limit * limit))


def interval(curve: Curve, kind: Kind, seed: int | None) -> tuple[float, float]:
    """The interval of 90% of the suggestions for other noise and initial weights."""
    rng = np.random.default_rng(seed)
    scale = curve.noise()
    standard = curve.residuals()[: curve.lowest + 1] / np.maximum(
        scale[: curve.lowest + 1], 1e-300
    )
    found = []
    for _ in range(200):
        drawn = curve.values + scale * rng.choice(standard, len(scale))
        half = half_of_descent(curve.trend.values_of @ drawn, first_loss(drawn))
        walked = curve.rates[: half + 1].sum() * np.exp(rng.normal(0, SPREAD))
        limit = curve.rates[curve.relapse_of(drawn)] * np.exp(rng.normal(0, SPREAD))
        found.append(lower(CONSTANT[kind], walked, limit))
    low, high = np.quantile(found, (0.05, 0.95))
    suggestion = advice(curve, kind).suggestion
    return float(min(low, suggestion)), float(max(high, suggestion))


def reason_against(curve: Curve) -> str:
    """Why the curve permits no advice; empty if it permits some."""
    if curve.certainty() > CONFIDENCE:
        if curve.half() >= FIRST_HALF:
            return ""
        return (
            f"half of the descent is over by step {curve.half()}, so the sweep began "
            "too high: try a lower min_rate"
        )
    rise = curve.values.max() - curve.values[0]
    # Equal losses differ by rounding once there is a trend of them.
    rounding = 1e-9 * np.abs(curve.values).max()
    above = max(3 * curve.noise().max(), rounding)
    if curve.lowest < len(curve.values) // 10 and rise > above:
        return "the loss rises from the start: try a lower min_rate"
    return "the curve is flat: the loss falls by less than its noise"
