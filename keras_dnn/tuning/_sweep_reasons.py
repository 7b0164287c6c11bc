"""Why a sweep of the learning rate ended where it did."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def why_so_short(rates: np.ndarray, losses: np.ndarray, end: int) -> str:
    """Why there are only so many usable losses that they make no curve."""
    if end == len(losses):
        return f"{end} losses are too few to read a curve: try more steps"
    if np.isfinite(losses[end]) or (end and losses[end - 1] > 10 * abs(losses[0])):
        return f"the loss diverges after {end} steps: try a lower min_rate"
    if end == 0:
        return (
            "the loss is not finite before the first update: call preflight to see why"
        )
    return (
        f"the loss or a weight is not finite after {end} updates, at a rate of "
        f"{rates[end]:.2g}: try a lower min_rate, or call preflight to see why"
    )


def how_it_ended(losses: np.ndarray, end: int, steps: int) -> str:
    """What limits the advice, if the rise of the loss does not."""
    if end < len(losses) and not np.isfinite(losses[end]):
        return (
            f"The sweep ended at step {end}, where the loss or a weight is not finite "
            "though no loss had risen before: if the data hold NaN, remove it and test "
            "again"
        )
    if end == len(losses) == steps:
        return (
            "The sweep ended before the loss rose, so the advice may be too low: "
            "try a higher max_rate"
        )
    return ""


def nonfinite_data(**arrays: Any) -> str:
    """Which row of which argument holds NaN or Inf, if they are arrays."""
    for name, value in arrays.items():
        for array in keras.tree.flatten(value):
            if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
                if not finite.all():
                    return f"{name} holds NaN or Inf in row {int(np.argmin(finite))}"
    return ""
