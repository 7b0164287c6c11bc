"""Two models, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def paired_differences(
    differences: np.ndarray,
    difference: float,
    interval: tuple[float, float],
    names: tuple[str, str] = ("a", "b"),
    ax: Axes | None = None,
) -> Axes:
    """Draws differences between two models, their middle and its interval.

    Args:
        differences: of the scores of each pair, of shape `(pairs,)`.
        difference: their middle, such as the mean.
        interval: its confidence interval.
        names: of the two models.
        ax: where to draw; a new figure if `None`.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> differences = np.array([0.1, 0.3, 0.2])
        >>> ax = plotting.paired_differences(differences, 0.2, (0.1, 0.3))
    """
    if ax is None:
        ax = new_figure(figsize=(6, 3), layout="constrained").subplots()
    ax.axvline(0, color=GREY, linewidth=1)
    if np.isfinite(interval).all():
        ax.axvspan(*interval, color=ORANGE, alpha=0.15, linewidth=0)
    ax.axvline(difference, color=ORANGE)
    ax.plot(differences, np.arange(1, len(differences) + 1), "o", color=BLUE)
    ax.locator_params(axis="y", integer=True)
    tidy(ax, f"{names[0]} - {names[1]}", "pair")
    return ax


def agreement(
    table: np.ndarray,
    names: tuple[str, str] = ("a", "b"),
    ax: Axes | None = None,
) -> Axes:
    """Draws how often both, one or neither of two classifiers is right.

    Args:
        table: counts, `[[both right, only the first], [only the second, neither]]`.
        names: of the two.
        ax: where to draw; a new figure if `None`.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> ax = plotting.agreement(np.array([[80, 12], [3, 5]]))
    """
    if ax is None:
        ax = new_figure(figsize=(6, 2.5), layout="constrained").subplots()
    (both, first), (second, neither) = table
    labels = ["both", f"only {names[0]}", f"only {names[1]}", "neither"]
    counts = [both, first, second, neither]
    bars = ax.barh(labels, counts, color=[GREY, BLUE, ORANGE, GREY])
    ax.bar_label(bars, padding=3)
    ax.invert_yaxis()
    tidy(ax, "predictions", "right")
    return ax
