"""What a classifier gains where it may stay silent on what it is unsure of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, pyplot, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORTH_SEEING = 0.05
"""Of smaller shares the accuracy is that of a handful of inputs."""


def rejection(models: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draws accuracy over the share of inputs kept, the surest of them first.

    The right end of a line is the accuracy on all inputs. A measure of uncertainty
    that says nothing of the errors gives a flat line; the dotted line is the best that
    the last model could reach, with all its errors rejected first. Inputs that are
    equally uncertain count as drawn by lot.

    Args:
        models: for each name how uncertain each prediction is, by any measure that
            grows with uncertainty, and whether it is right; both of any one shape.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if there are no models, or one without inputs.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> entropy, right = np.array([0.1, 0.6, 0.2]), np.array([True, False, True])
        >>> figure = plotting.rejection({"model": (entropy, right)})
    """
    if not models or any(np.size(right) == 0 for _, right in models.values()):
        raise ValueError(
            "models must hold at least one model, each with at least one input. "
            f"Received: models={models!r}"
        )
    figure: Figure = pyplot().figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    lowest = 0.99
    colours = [BLUE, ORANGE, GREY]
    for i, (name, (uncertainty, right)) in enumerate(models.items()):
        colour = colours[i] if i < len(colours) else f"C{i}"
        shares, accuracies = _curve(uncertainty, right)
        ax.plot(shares, accuracies, color=colour, label=name)
        lowest = min(lowest, accuracies[shares >= WORTH_SEEING].min())
    ax.plot(*_curve(~np.asarray(right, bool), right), ":", color=GREY, label="best")
    ax.set(xlim=(0, 1), ylim=(lowest - 0.03 * (1 - lowest), 1 + 0.03 * (1 - lowest)))
    ax.legend(frameon=False)
    tidy(ax, "share of inputs kept", "accuracy on them", "Rejection")
    return figure


def _curve(uncertainty: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares kept, from one input to all, and the accuracy on them."""
    levels, place = np.unique(np.ravel(uncertainty), return_inverse=True)
    # The order among equals would be that of the data set; their mean has none.
    inputs = np.bincount(place, minlength=len(levels))
    hits = np.bincount(place, np.ravel(right).astype(float), len(levels))
    kept = np.arange(1, inputs.sum() + 1)
    return kept / len(kept), np.cumsum(np.repeat(hits / inputs, inputs)) / kept
