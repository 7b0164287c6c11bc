"""What `GradientNorms` has fetched from the training step, on the host."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from keras_dnn.callbacks._probe.record import PIECES


class GradientArrays(NamedTuple):
    """Norms and ratios, a row for each recorded step; see `GradientNorms`."""

    steps: np.ndarray
    norms: np.ndarray
    clipped_norms: np.ndarray
    ratios: np.ndarray
    global_norms: np.ndarray
    global_clipped_norms: np.ndarray
    global_ratios: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Self:
        """The arrays in rows of: step, then four norms of each variable.

        Args:
            rows: the norms are those of gradients, clipped gradients, updates and
                weights, one after the other; negative for what an update does not
                have, which becomes NaN.
        """
        missing = rows[:, 1:] < 0
        found = np.where(missing, 0.0, rows[:, 1:])
        norms, clipped, updates, weights = np.split(found, 4, axis=1)
        no_norm, no_clipped, *_ = np.split(missing, 4, axis=1)
        return cls(
            rows[:, 0].astype("int64"),
            np.where(no_norm, np.nan, norms),
            np.where(no_clipped, np.nan, clipped),
            _ratio(updates, weights),
            _length(norms),
            _length(clipped),
            _ratio(_length(updates), _length(weights)),
        )

    @classmethod
    def empty(cls, variables: int) -> Self:
        """Arrays without steps."""
        return cls.of(np.empty((0, 1 + 4 * variables)))

    @classmethod
    def joined(cls, pieces: Sequence[GradientArrays]) -> Self:
        """One piece after the other."""
        return cls(*map(np.concatenate, zip(*pieces, strict=True)))

    def without_variables(self) -> GradientArrays:
        """The numbers of all variables together only."""
        none = np.empty((len(self.steps), 0))
        return self._replace(norms=none, clipped_norms=none, ratios=none)

    def thinned(self, every: int) -> GradientArrays:
        """Only the steps that are multiples of `every`."""
        keep = self.steps % every == 0
        return GradientArrays(*(array[keep] for array in self))


class GradientHistory:
    """The arrays of all steps so far, or evenly spaced ones within a limit.

    Args:
        variables: how many variables have norms.
        every: how many updates lie between two recorded steps.
        limit: how many steps to keep.
    """

    def __init__(self, variables: int, every: int, limit: int) -> None:
        self._every = every
        self._limit = limit
        self._pieces = [GradientArrays.empty(variables)]

    def add(self, arrays: GradientArrays) -> None:
        """Adds the arrays of later steps."""
        self._pieces.append(arrays.thinned(self._every))
        if len(self._pieces) > PIECES:
            self.join()

    @property
    def arrays(self) -> GradientArrays:
        """The arrays of all steps that are kept."""
        self.join()
        return self._pieces[0]

    def join(self) -> None:
        """Makes one piece of all, and drops steps beyond the limit."""
        if len(self._pieces) == 1:
            return
        joined = GradientArrays.joined(self._pieces)
        while len(joined.steps) > self._limit:
            self._every *= 2
            joined = joined.thinned(self._every)
            warnings.warn(
                f"GradientNorms has reached its limit of {self._limit} steps and keeps "
                f"one in {self._every} from now on. A higher limit keeps more.",
                stacklevel=2,
            )
        self._pieces = [joined]


def _length(norms: np.ndarray) -> np.ndarray:
    """The norm of a vector whose parts have these norms."""
    largest = norms.max(axis=1, initial=0.0, keepdims=True)
    scale = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)
    length: np.ndarray = scale[:, 0] * np.linalg.norm(norms / scale, axis=1)
    return length


def _ratio(updates: np.ndarray, weights: np.ndarray) -> np.ndarray:
    ratio = np.full_like(updates, np.nan)
    np.divide(updates, weights, out=ratio, where=weights > 0)
    return ratio


def summary(pieces: Sequence[GradientArrays], ratios: bool) -> dict[str, float]:
    """What `History` gets for an epoch; NaN of nothing, so that it has an entry."""
    epoch = GradientArrays.joined([GradientArrays.empty(0), *pieces])
    found = {
        "gradient_norm": _or_nan(np.mean, epoch.global_norms),
        "gradient_norm_max": _or_nan(np.max, epoch.global_norms),
    }
    if ratios:
        found["update_ratio"] = _or_nan(np.mean, epoch.global_ratios)
    return found


def _or_nan(function: Callable[[np.ndarray], Any], values: np.ndarray) -> float:
    return float(function(values)) if values.size else float("nan")
