"""Suggestions for a learning rate, read from the losses of a range test.

Scaling the loss or adding a constant to it changes none of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BANDWIDTH = 0.06
"""Bandwidth of the trend as a fraction of the sweep: half a decade of eight."""

NOISE = 5.0
"""Standard errors of the trend that a descent must exceed."""


def smoothed(losses: np.ndarray, smoothing: float) -> np.ndarray:
    """Exponentially weighted averages with bias correction."""
    average, averages = 0.0, []
    for i, loss in enumerate(losses, start=1):
        average = smoothing * average + (1 - smoothing) * loss
        averages.append(average / (1 - smoothing**i))
    return np.array(averages)


class Trend:
    """The curve of the losses, smoothed without the lag of a running average.

    At each rate a parabola is fitted to the losses around it, weighted by their
    distance; for the slope a straight line, since a parabola estimates slopes badly at
    the ends. Both are linear in the losses, so values and slopes are matrix products.

    Args:
        positions: increasing positions of the losses: the logarithms of the rates, or
            the rates of a linear sweep.
    """

    def __init__(self, positions: np.ndarray) -> None:
        span = max(positions[-1] - positions[0], 1e-300)
        offsets = (positions[None, :] - positions[:, None]) / span
        width = max(BANDWIDTH, 3 / len(positions))
        weights = np.exp(-0.5 * (offsets / width) ** 2)
        self.values_of = _fit(offsets, weights, degree=2)[:, 0]
        self.slopes_of = _fit(offsets, weights, degree=1)[:, 1]

    def noise(self, losses: np.ndarray) -> float:
        """The standard error of the trend."""
        n = len(losses)
        freedom = max(n - np.trace(self.values_of), 1.0)
        deviation = np.sqrt(np.sum((losses - self.values_of @ losses) ** 2) / freedom)
        return float(deviation * np.linalg.norm(self.values_of, axis=1).max())


def _fit(offsets: np.ndarray, weights: np.ndarray, degree: int) -> np.ndarray:
    """Matrices from losses to the coefficients of a polynomial around each point."""
    powers = offsets[..., None] ** np.arange(degree + 1)
    normal = np.einsum("ij,ijk,ijl->ikl", weights, powers, powers)
    right = np.einsum("ij,ijk->ikj", weights, powers)
    coefficients: np.ndarray = np.linalg.solve(normal, right)
    return coefficients


def usable(losses: np.ndarray) -> int:
    """How many losses come before the curve is clearly above its first values."""
    finite = np.isfinite(losses)
    end = len(losses) if finite.all() else int(np.argmin(finite))
    if end < 5:
        return end
    padded = np.pad(losses[:end], 2, mode="edge")
    medians = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    changes = np.abs(np.diff(losses[:end]))
    noise = 1.05 * np.median(changes)  # The standard deviation, for normal noise.
    first = np.median(losses[: max(5, end // 10)])
    lowest = int(np.argmin(medians))
    above = np.flatnonzero(medians[lowest:] > first + 3 * noise)
    return lowest + int(above[0]) if above.size else end


def valley(values: np.ndarray, slopes: np.ndarray) -> int:
    """Halfway down the deepest descent."""
    falling = np.flatnonzero(np.diff(values) < 0)
    if not falling.size:
        return 0
    runs = np.split(falling, np.flatnonzero(np.diff(falling) > 1) + 1)
    run = max(runs, key=lambda run: values[run[0]] - values[run[-1] + 1])
    first, last = run[0], run[-1] + 1
    half = (values[first] + values[last]) / 2
    return int(first + np.argmax(values[first : last + 1] <= half))


def steepest(values: np.ndarray, slopes: np.ndarray) -> int:
    """Where the loss falls fastest, before its minimum."""
    return int(np.argmin(slopes[: int(np.argmin(values)) + 1]))


def minimum(values: np.ndarray, slopes: np.ndarray) -> int:
    """Where the loss is lowest; a tenth of that rate is suggested."""
    return int(np.argmin(values))


def slide(values: np.ndarray, slopes: np.ndarray) -> int:
    """The last point before the minimum with at least half the steepest slope."""
    before = slopes[: int(np.argmin(values)) + 1]
    if before.min() >= 0:
        return len(before) - 1
    return int(np.flatnonzero(before <= before.min() / 2)[-1])


RULES: dict[str, tuple[Callable[[np.ndarray, np.ndarray], int], float]] = {
    "valley": (valley, 1.0),
    "steepest": (steepest, 1.0),
    "minimum": (minimum, 0.1),
    "slide": (slide, 1.0),
}
"""Each rule with the factor that it applies to the rate it finds."""


def suggestions(
    rates: np.ndarray, losses: np.ndarray, trend: Trend
) -> dict[str, float]:
    """The suggestion of each rule."""
    values, slopes = trend.values_of @ losses, trend.slopes_of @ losses
    return {
        name: float(rates[rule(values, slopes)] * factor)
        for name, (rule, factor) in RULES.items()
    }


def interval(
    rule: str, rates: np.ndarray, losses: np.ndarray, trend: Trend, seed: int | None
) -> tuple[float, float]:
    """The interval of 90% of the suggestions when the noise is drawn again."""
    rng = np.random.default_rng(seed)
    values = trend.values_of @ losses
    residuals = losses - values
    found = []
    for _ in range(200):
        drawn = values + rng.choice(residuals, len(losses))
        found.append(suggestions(rates, drawn, trend)[rule])
    low, high = np.quantile(found, (0.05, 0.95))
    return float(low), float(high)


def reason_against(losses: np.ndarray, trend: Trend) -> str:
    """Why the curve permits no suggestion; empty if it permits one."""
    values = trend.values_of @ losses
    lowest = int(np.argmin(values))
    fall = values[: lowest + 1].max() - values[lowest]
    rise = values.max() - values[0]
    enough = NOISE * trend.noise(losses) + 1e-9 * np.abs(values).max()
    if fall > enough:
        return ""
    if lowest < len(values) // 10 and rise > enough:
        return "the loss rises from the start: try a lower min_rate"
    return "the curve is flat: the loss falls by less than its noise"
