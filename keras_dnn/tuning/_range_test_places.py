"""Places on the curve of a range test, which move with the number of its steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_dnn.tuning._range_test_rules import Curve


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


PLACES: dict[str, tuple[Callable[[np.ndarray, np.ndarray], int], float]] = {
    "valley": (valley, 1.0),
    "steepest": (steepest, 1.0),
    "minimum": (minimum, 0.1),
    "slide": (slide, 1.0),
}
"""Each place with the factor that is applied to its rate."""


def places(curve: Curve) -> dict[str, float]:
    """The rate by each of the rules that read a place."""
    slopes = curve.trend.slopes_of @ curve.losses
    return {
        name: float(curve.rates[place(curve.values, slopes)] * factor)
        for name, (place, factor) in PLACES.items()
    }
