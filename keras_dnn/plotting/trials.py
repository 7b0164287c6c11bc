"""The trials of a search."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, ORANGE, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3


def trials(
    values: dict[str, np.ndarray],
    scores: np.ndarray,
    *,
    log: Collection[str] = (),
    alarms: Collection[str] = (),
    objective: str = "score",
) -> Figure:
    """Draws the scores of a search over each hyperparameter.

    Args:
        values: those of each hyperparameter by name, of shape `(trials,)`; NaN where it
            was not active.
        scores: of shape `(trials,)`, the best first.
        log: names of those to draw on a logarithmic scale.
        alarms: names of those whose best value is at the edge of the search range; a
            line marks it.
        objective: what the scores are.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> values = {"learning_rate": np.array([0.1, 0.01, 0.03])}
        >>> scores = np.array([0.9, 0.7, 0.8])
        >>> figure = plotting.trials(values, scores, log=["learning_rate"])
    """
    columns = min(max(len(values), 1), COLUMNS)
    rows = -(-max(len(values), 1) // columns)
    size = (3.2 * columns, 2.8 * rows)
    figure = new_figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    panels = grid.ravel()
    for ax, (name, tried) in zip(panels, values.items(), strict=False):
        if name in log:
            ax.set_xscale("log")
        ax.plot(tried[1:], scores[1:], "o", color=BLUE, alpha=0.7)
        if name in alarms:
            ax.axvline(tried[0], color=ORANGE, linestyle=":")
        ax.plot(tried[:1], scores[:1], "o", color=ORANGE, markersize=9)
        tidy(ax, name, objective if ax in grid[:, 0] else "")
    for ax in panels[len(values) :]:
        ax.set_visible(False)
    return figure
