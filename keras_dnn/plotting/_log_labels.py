"""Labels of logarithmic axes that do not overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PREFERRED = (2, 5, 3, 7, 4, 6, 8, 9)
"""Multiples of a power of ten, those first that divide its decade evenly."""


def label_log_axes(ax: Axes) -> None:
    """Labels only as many ticks between powers of ten as there is space for.

    matplotlib labels 2, 3, 4 and 6 times a power of ten on an axis of about a decade,
    which overlap in a small plot.
    """
    from matplotlib.ticker import LogFormatterSciNotation

    class SparseLogFormatter(LogFormatterSciNotation):
        labelled = np.empty(0)

        def set_locs(self, locs: Any | None = None) -> None:
            super().set_locs(locs)
            self.labelled = legible(self.axis)

        def __call__(self, x: float, pos: int | None = None) -> str:
            if not np.isclose(x, self.labelled, rtol=1e-6, atol=0).any():
                return ""
            return str(super().__call__(x, pos))

    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "log":
            # All are candidates, as `legible` makes the choice.
            formatter = SparseLogFormatter(minor_thresholds=(np.inf, np.inf))
            axis.set_minor_formatter(formatter)


def legible(axis: Any) -> np.ndarray:
    """The ticks between powers of ten whose labels have space beside each other."""
    low, high = np.log10(np.sort(axis.get_view_interval()))
    decades = np.arange(np.floor(low), np.ceil(high) + 1)
    # The count is of short labels, half as wide as 2×10⁻⁴ with a gap.
    apart = 2 * (high - low) / max(axis.get_tick_space(), 1)
    taken = list(decades[(low <= decades) & (decades <= high)])
    chosen = []
    if len(taken) < 3:
        for multiple in PREFERRED:
            for place in decades + np.log10(multiple):
                near = [other for other in taken if abs(other - place) < apart]
                if low <= place <= high and not near:
                    taken.append(place)
                    chosen.append(place)
    places: np.ndarray = np.power(10.0, np.sort(chosen))
    return places
