"""Panels of curves, with the healthy range of each shaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, new_figure, tidy
from keras_dnn.plotting._names import without_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (BLUE, ORANGE, GREY, "#4a8f5a")


Panel: TypeAlias = tuple[
    str,
    np.ndarray | Sequence[str],
    str,
    Mapping[str, np.ndarray],
    bool,
    tuple[float, float] | None,
]
"""Title, places, label of the places, curves by name, log scale, healthy range."""


def charts(panels: Sequence[Panel]) -> Figure:
    """Draws panels of curves, one below the other.

    Args:
        panels: a tuple for each: its title, the places on the horizontal axis (numbers
            or names), the label of that axis, the curves by name, whether the vertical
            axis is logarithmic, and the healthy range, which is shaded, or `None`.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> curves = {"loss": np.array([1.0, 0.5])}
        >>> figure = plotting.charts(
        ...     [("Loss", np.arange(2), "epoch", curves, False, None)]
        ... )
    """
    figure = new_figure(figsize=(6.4, 2.8 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False)[:, 0]
    for ax, (title, x, xlabel, curves, log, healthy) in zip(axes, panels, strict=True):
        named = len(x) > 0 and isinstance(x[0], str)
        places = np.arange(len(x)) if named else np.asarray(x)
        for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
            y = np.asarray(values, float)
            if log:
                y = np.where(y > 0, y, np.nan)
            marker = "." if len(y) < 60 else ""
            ax.plot(places, y, color=colour, marker=marker, lw=1.2, label=name)
        if healthy is not None:
            ax.axhspan(*healthy, color=GREY, alpha=0.12, lw=0)
        if log:
            ax.set_yscale("log")
        if named:
            step = -(-len(x) // 24)
            labels = without_model(list(x), 2 if xlabel == "layer" else 3)[::step]
            ax.set_xticks(places[::step], labels, rotation=40, ha="right", fontsize=7)
        elif np.asarray(x).dtype.kind == "i":
            ax.xaxis.get_major_locator().set_params(integer=True)
        if len(curves) > 1:
            ax.legend(frameon=False)
        tidy(ax, xlabel, next(iter(curves)) if len(curves) == 1 else "", title)
    return figure
