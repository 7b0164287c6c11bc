"""Candidates for a model: how fast each is, and how much its outputs differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def candidates(
    names: Sequence[str],
    milliseconds: Sequence[float],
    differences: Sequence[float],
    within: Sequence[bool],
    *,
    fastest: str | None = None,
    accuracies: Sequence[float | None] | None = None,
    tolerance: float | None = None,
) -> Figure:
    """Draws how long each candidate for a model takes, and how much its outputs differ.

    Args:
        names: of the candidates, the reference first.
        milliseconds: of a call.
        differences: from the reference, as fractions of the outputs' standard
            deviation.
        within: whether each is within the tolerance.
        fastest: the name of the candidate that is used.
        accuracies: of each candidate, written beside it.
        tolerance: of the difference, drawn as a line.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> from keras_dnn import plotting
        >>> names = ["model.predict", "tf.function", "TFLite int8"]
        >>> figure = plotting.candidates(
        ...     names, [80, 15, 1.3], [0, 1e-6, 0.03], [True, True, False]
        ... )
    """
    figure = new_figure(figsize=(8, 1.2 + 0.34 * len(names)), layout="constrained")
    times, errors = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    places = np.arange(len(names))
    colours = [
        BLUE if name == fastest else GREY if good else ORANGE
        for name, good in zip(names, within, strict=True)
    ]
    bars = times.barh(places, milliseconds, color=colours)
    labels = [f"{ms:.3g} ms, {_times(milliseconds[0] / ms)}" for ms in milliseconds]
    times.bar_label(bars, labels, padding=3, fontsize=8)
    times.set_xscale("log")
    times.set_xlim(min(milliseconds) / 2, max(milliseconds) * 12)
    times.set_yticks(places, list(names))
    times.invert_yaxis()
    tidy(times, "milliseconds per call", "", "Time")

    shown = np.maximum(np.asarray(differences, float), SMALLEST)
    errors.scatter(shown, places, color=colours)
    errors.set_xscale("log")
    if tolerance is not None:
        errors.axvline(max(tolerance, SMALLEST), color=GREY, linestyle=":")
    for place, accuracy in zip(places, accuracies or (), strict=False):
        if accuracy is not None:
            errors.annotate(
                f"{100 * accuracy:.2f}%",
                (1.02, place),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
            )
    tidy(errors, "difference / standard deviation", "", "Largest difference")
    return figure


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}×" if ratio >= 100 else f"{ratio:.3g}×"


SMALLEST = 1e-8
"""Drawn in place of zero on a logarithmic axis."""
