"""What `GradientNorms` has fetched from the training step, on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np


class GradientRecord(NamedTuple):
    """Norms and ratios, a row for each recorded step; see `GradientNorms`."""

    steps: np.ndarray
    norms: np.ndarray
    clipped_norms: np.ndarray
    ratios: np.ndarray
    global_norms: np.ndarray
    global_clipped_norms: np.ndarray
    global_ratios: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, live: np.ndarray) -> Self:
        """The record in rows of: step, then four norms of each variable.

        Args:
            rows: the norms are those of gradients, clipped gradients, updates and
                weights, one after the other.
            live: whether each variable has a gradient; if not it shows NaN.
        """
        norms, clipped, updates, weights = np.split(rows[:, 1:], 4, axis=1)
        return cls(
            rows[:, 0].astype("int64"),
            np.where(live, norms, np.nan),
            np.where(live, clipped, np.nan),
            _ratio(updates, weights),
            _length(norms),
            _length(clipped),
            _ratio(_length(updates), _length(weights)),
        )

    @classmethod
    def empty(cls, variables: int) -> Self:
        """A record without steps."""
        return cls.of(np.empty((0, 1 + 4 * variables)), np.ones(variables, bool))

    @classmethod
    def joined(cls, records: Sequence[GradientRecord]) -> Self:
        """One record after the other."""
        return cls(*map(np.concatenate, zip(*records, strict=True)))

    def without_variables(self) -> GradientRecord:
        """The columns of all variables together only."""
        none = np.empty((len(self.steps), 0))
        return self._replace(norms=none, clipped_norms=none, ratios=none)

    def thinned(self, every: int) -> GradientRecord:
        """Only the steps that are multiples of `every`."""
        keep = self.steps % every == 0
        return GradientRecord(*(column[keep] for column in self))


def _length(norms: np.ndarray) -> np.ndarray:
    """The norm of a whole whose parts have these norms."""
    largest = norms.max(axis=1, initial=0.0, keepdims=True)
    scale = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)
    length: np.ndarray = scale[:, 0] * np.linalg.norm(norms / scale, axis=1)
    return length


def _ratio(updates: np.ndarray, weights: np.ndarray) -> np.ndarray:
    ratio = np.full_like(updates, np.nan)
    np.divide(updates, weights, out=ratio, where=weights > 0)
    return ratio
