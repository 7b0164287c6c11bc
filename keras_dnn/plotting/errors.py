"""The parts of an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def error_parts(
    target: float, training: float, validation: float, ax: Axes | None = None
) -> Axes:
    """Draws target, avoidable bias and variance end to end.

    Args:
        target: the error that could be reached.
        training: the error on the training set.
        validation: the error on validation data.
        ax: where to draw; a new figure if `None`.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> from keras_dnn import plotting
        >>> ax = plotting.error_parts(0.01, 0.08, 0.10)
    """
    if ax is None:
        ax = new_figure(figsize=(6, 2.5), layout="constrained").subplots()
    rows = {
        "target": (0.0, target, GREY),
        "avoidable bias": (target, training - target, BLUE),
        "variance": (training, validation - training, ORANGE),
    }
    bars = ax.barh(
        list(rows),
        [width for _, width, _ in rows.values()],
        left=[start for start, _, _ in rows.values()],
        color=[colour for _, _, colour in rows.values()],
    )
    ax.bar_label(bars, [f"{width:.3g}" for _, width, _ in rows.values()], padding=3)
    ax.invert_yaxis()
    tidy(ax, "error", "")
    return ax
