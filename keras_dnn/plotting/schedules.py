"""How a rate or momentum moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, pyplot, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
