"""How rates, momenta and losses move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, pyplot, tidy

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
        label: what the value is.
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
        _, ax = pyplot().subplots(figsize=(6, 3.5), layout="constrained")
    ax.plot(steps, values, color=BLUE)
    tidy(ax, "step", label)
    return ax


def training_steps(
    steps: np.ndarray,
    losses: np.ndarray,
    learning_rates: np.ndarray,
    momenta: np.ndarray,
) -> Figure:
    """Draws the losses of all steps, and under them the rate and the momentum.

    Args:
        steps: steps, of shape `(steps,)`.
        losses: the loss of each.
        learning_rates: the rate of each.
        momenta: the momentum of each; all NaN for none, which leaves it out.

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
    figure, axes = pyplot().subplots(
        len(rows),
        sharex=True,
        figsize=(6, 2 + 1.5 * len(rows)),
        height_ratios=[2.0] + [1.0] * (len(rows) - 1),
        layout="constrained",
    )
    for ax, (label, values) in zip(axes, rows, strict=True):
        ax.plot(steps, values, color=BLUE, linewidth=1)
        tidy(ax, "step" if label == rows[-1][0] else "", label)
    finite = losses[np.isfinite(losses) & (losses > 0)]
    if finite.size and finite.max() > 20 * finite.min():
        axes[0].set_yscale("log")
    drawn: Figure = figure
    return drawn


def range_test(
    rates: np.ndarray,
    losses: np.ndarray,
    trend: np.ndarray,
    suggestions: Mapping[str, float],
    ax: Axes | None = None,
) -> Axes:
    """Draws the losses of a learning-rate range test, with the suggested rates.

    Args:
        rates: the rate of each step.
        losses: the loss of each step.
        trend: the losses without their noise, NaN where there is no trend.
        suggestions: rates by name; the first is set off.
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
        _, ax = pyplot().subplots(figsize=(6.5, 3.8), layout="constrained")
    ax.plot(rates, losses, ".", color=GREY, markersize=3, alpha=0.6, label="loss")
    ax.plot(rates, trend, color=BLUE, label="trend")
    ax.set_xscale("log")
    shown = trend[np.isfinite(trend)]
    if shown.size:
        low, high = shown.min(), shown.max()
        ax.set_ylim(low - 0.15 * (high - low), high + 0.3 * (high - low))
    known = np.isfinite(trend)
    for k, (name, rate) in enumerate(suggestions.items()):
        height = np.interp(np.log(rate), np.log(rates[known]), shown)
        ax.plot(rate, height, "o", color=ORANGE if k == 0 else BLUE)
        ax.annotate(
            f"{name} {rate:.1e}",
            (rate, height),
            xytext=(6, 8 + 12 * (k % 2)),
            textcoords="offset points",
            fontsize="small",
            color=ORANGE if k == 0 else "black",
        )
    tidy(ax, "learning rate", "loss of the batch")
    return ax
