"""How activations are distributed, over training and over depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, new_figure, tidy
from keras_dnn.plotting._names import without_model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 12
"""How many layers' histograms fit on a page."""


def activations(
    steps: np.ndarray,
    names: Sequence[str],
    means: np.ndarray,
    stds: np.ndarray,
    dead: np.ndarray,
    saturated: np.ndarray,
    histograms: np.ndarray,
    histogram_edges: np.ndarray,
) -> Figure:
    """Draws mean and deviation over depth, dead and saturated units, and histograms.

    Args:
        steps: the step of each check, of shape `(checks,)`.
        names: of the layers, first layer first.
        means: of shape `(checks, layers)`.
        stds: standard deviations, of the same shape.
        dead: fractions of dead units, of the same shape.
        saturated: fractions of saturated units, of the same shape; NaN where units
            cannot saturate.
        histograms: counts, of shape `(checks, layers, bins)`; drawn over time.
        histogram_edges: of shape `(checks, layers, bins + 1)`.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> ones = np.ones((1, 2))
        >>> figure = plotting.activations(
        ...     np.array([0]),
        ...     ["a", "b"],
        ...     0 * ones,
        ...     ones,
        ...     0 * ones,
        ...     0 * ones,
        ...     np.ones((1, 2, 4)),
        ...     np.tile(np.linspace(-2.0, 2.0, 5), (1, 2, 1)),
        ... )
    """
    shown = np.unique(
        np.linspace(0, len(names) - 1, min(SHOWN, len(names))).astype(int)
    )
    rows = -(-len(shown) // 4)
    figure = new_figure(figsize=(9, 4.6 + 1.5 * rows), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(4.6, 1.5 * rows))
    upper, lower = parts
    moments, units = upper.subplots(2, 1, sharex=True)
    labels = without_model(names, parts=2)
    depth = np.arange(len(names))
    for check, colour, when, offset in (
        (0, GREY, "first", -0.1),
        (-1, BLUE, "last", 0.1),
    ):
        moments.errorbar(
            depth + offset,
            means[check],
            stds[check],
            fmt="o",
            markersize=3,
            capsize=2,
            linewidth=1,
            color=colour,
            label=f"{when} check, step {steps[check]}",
        )
    moments.legend(frameon=False, ncols=2, fontsize="small")
    tidy(moments, "", "mean ± std", "Activations over depth")
    units.bar(depth - 0.2, 100 * dead[-1], 0.4, color=ORANGE, label="dead")
    units.bar(depth + 0.2, 100 * saturated[-1], 0.4, color=GREY, label="saturated")
    units.set_ylim(0, 100)
    units.legend(frameon=False, ncols=2, fontsize="small")
    units.set_xticks(depth, labels, rotation=45, ha="right", fontsize="small")
    tidy(units, "", "units at the last check (%)")

    axes = np.atleast_1d(
        lower.subplots(rows, min(4, len(shown)), squeeze=False)
    ).ravel()
    for ax in axes[len(shown) :]:
        ax.set_visible(False)
    for ax, layer in zip(axes, shown, strict=False):
        _over_time(ax, steps, histograms[:, layer], histogram_edges[:, layer])
        ax.set_title(labels[layer], loc="left", fontsize="x-small")
    lower.supxlabel("step", fontsize="small")
    lower.supylabel("output", fontsize="small")
    return figure


def _over_time(
    ax: Axes, steps: np.ndarray, counts: np.ndarray, edges: np.ndarray
) -> None:
    """One layer's histograms side by side, on common bins."""
    common = np.linspace(edges.min(), edges.max(), counts.shape[-1] + 1)
    image = np.empty((len(common) - 1, len(steps)))
    for column, (count, edge) in enumerate(zip(counts, edges, strict=True)):
        cumulated = np.concatenate([[0.0], np.cumsum(count)])
        image[:, column] = np.diff(np.interp(common, edge, cumulated))
    width = (steps[-1] - steps[0]) / max(len(steps) - 1, 1) or 1.0
    ax.imshow(
        np.sqrt(image / np.maximum(image.sum(axis=0), 1.0)),
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        cmap="Blues",
        extent=(steps[0] - width / 2, steps[-1] + width / 2, common[0], common[-1]),
    )
    ax.tick_params(labelsize="x-small")
