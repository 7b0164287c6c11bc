"""The rate by the rules of other libraries, written after their sources."""

import numpy as np

from keras_dnn.tuning import _range_test_rules as rules

DEFAULTS = {"SGD": 0.01, "Momentum": 0.01, "Nesterov": 0.01}
"""Keras's default rates; 0.001 for every other optimizer of the tasks."""


def averaged(rates, losses, stop=4.0):
    """Running averages, up to where they exceed the lowest one by this factor."""
    finite = np.isfinite(losses)
    end = len(losses) if finite.all() else int(np.argmin(finite))
    averages = rules.smoothed(losses[:end], 0.98)
    above = np.flatnonzero(averages > stop * np.minimum.accumulate(averages))
    end = above[0] + 1 if above.size else end
    return rates[:end], averages[:end]


def fastai_valley(rates, losses):
    """The middle of the longest falling subsequence (`callback/schedule.py`)."""
    rates, losses = averaged(rates, losses)
    first = len(losses) // 10
    rates, losses = rates[first:-5], losses[first:-5]
    if len(losses) < 3:
        return None
    lengths = np.ones(len(losses), int)
    for i in range(1, len(losses)):
        lower = lengths[:i][losses[:i] > losses[i]]
        lengths[i] = 1 + (lower.max() if lower.size else 0)
    end = int(np.argmax(lengths))
    start = end - lengths[end]
    third = (end - start) / 3
    return float(rates[max(0, start + int(third) + int(third / 2))])


def lightning(rates, losses):
    """The steepest place, without the first ten and the last (`lr_finder.py`).

    As before version 2.5.3, since when the slope is that over the rate itself.
    """
    rates, losses = averaged(rates, losses)
    rates, losses = rates[10:-1], losses[10:-1]
    if len(losses) < 2:
        return None
    return float(rates[np.argmin(np.gradient(losses))])
