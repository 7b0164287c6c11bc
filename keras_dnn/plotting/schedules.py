"""Learning rates, momenta and losses over steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def schedule(
    steps: np.ndarray,
    values: np.ndarray,
    label: str = "learning rate",
    ax: Axes | None = None,
) -> Axes:
    """Draws values over steps.

    Args:
        steps: steps, of shape `(steps,)`.
        values: the value at each.
        label: what the values are.
        ax: where to draw; a new figure if `None`.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> ax = plotting.schedule(np.arange(3), np.array([0.1, 0.2, 0.1]))
    """
    if ax is None:
        ax = new_figure(figsize=(6, 3.5), layout="constrained").subplots()
    ax.plot(steps, values, color=BLUE)
    tidy(ax, "step", label)
    return ax


def training_steps(
    steps: np.ndarray,
    losses: np.ndarray,
    learning_rates: np.ndarray,
    momenta: np.ndarray,
) -> Figure:
    """Draws the losses of all steps, and the rate and the momentum below them.

    Args:
        steps: steps, of shape `(steps,)`.
        losses: the loss of each.
        learning_rates: the rate of each.
        momenta: the momentum of each; left out if all are NaN.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> steps = np.arange(100)
        >>> figure = plotting.training_steps(
        ...     steps, 1 / (1 + steps), np.full(100, 0.1), np.full(100, 0.9)
        ... )
    """
    rows = [("loss", losses), ("learning rate", learning_rates)]
    if not np.isnan(momenta).all():
        rows.append(("momentum", momenta))
    figure = new_figure(figsize=(6, 2 + 1.5 * len(rows)), layout="constrained")
    ratios = [2.0] + [1.0] * (len(rows) - 1)
    axes = figure.subplots(len(rows), sharex=True, height_ratios=ratios)
    finite = losses[np.isfinite(losses) & (losses > 0)]
    if finite.size and finite.max() > 20 * finite.min():
        axes[0].set_yscale("log")
    for ax, (label, values) in zip(axes, rows, strict=True):
        ax.plot(steps, values, color=BLUE, linewidth=1)
        tidy(ax, "step" if label == rows[-1][0] else "", label)
    return figure


def range_test(
    rates: np.ndarray,
    losses: np.ndarray,
    trend: np.ndarray,
    suggestions: Mapping[str, float],
    interval: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draws the losses of a learning-rate range test, with the suggested rates.

    Args:
        rates: the rate of each step.
        losses: the loss of each step.
        trend: the losses without noise, NaN where there is no trend.
        suggestions: rates by name; the first is highlighted.
        interval: of the first suggestion, drawn as a band.
        ax: where to draw; a new figure if `None`.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> rates = np.geomspace(1e-6, 1.0, 50)
        >>> losses = 2 - np.exp(-((np.log10(rates) + 1.5) ** 2))
        >>> ax = plotting.range_test(rates, losses, losses, {"valley": 1e-2})
    """
    if ax is None:
        ax = new_figure(figsize=(6.5, 3.8), layout="constrained").subplots()
    ax.plot(rates, losses, ".", color=GREY, markersize=3, alpha=0.6)
    ax.plot(rates, trend, color=BLUE)
    steps = np.diff(rates)
    even = steps.size > 1 and np.allclose(steps, steps[0], rtol=1e-3)
    ax.set_xscale("linear" if even else "log")
    known = np.isfinite(trend)
    if known.any():
        low, high = trend[known].min(), trend[known].max()
        ax.set_ylim(low - 0.15 * (high - low), high + 0.3 * (high - low))
    if interval is not None:
        ax.axvspan(*interval, color=ORANGE, alpha=0.15, linewidth=0)
    # The first is drawn last, on top of equal ones.
    marked = list(zip(suggestions.items(), "o*sD^v", strict=False))
    for (name, rate), marker in reversed(marked):
        height = np.interp(rate, rates[known], trend[known]) if known.any() else 0
        colour = ORANGE if name == next(iter(suggestions)) else BLUE
        label = f"{name} {rate:.1e}"
        ax.plot(rate, height, marker, color=colour, label=label, linestyle="none")
    if suggestions:
        handles, labels = ax.get_legend_handles_labels()
        ax.legend(handles[::-1], labels[::-1], frameon=False, fontsize="small")
    tidy(ax, "learning rate", "loss of the batch")
    return ax
