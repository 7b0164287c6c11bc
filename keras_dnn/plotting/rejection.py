"""What a classifier gains if it may reject inputs that it is uncertain about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_FROM = 0.05
"""The range of the vertical axis ignores smaller fractions, of a few inputs only."""


def rejection(models: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draws accuracy over the fraction of inputs accepted, the most certain ones first.

    The right end of a line is the accuracy on all inputs. A measure of uncertainty that
    is unrelated to the errors gives a flat line. The dotted line is the best that the
    last model could reach, with all its errors rejected first. Inputs of equal
    uncertainty count as accepted in random order.

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
    figure = new_figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    lowest = 0.99
    colours = [BLUE, ORANGE, GREY]
    for i, (name, (uncertainty, right)) in enumerate(models.items()):
        colour = colours[i] if i < len(colours) else f"C{i}"
        fractions, accuracies = _curve(uncertainty, right)
        ax.plot(fractions, accuracies, color=colour, label=name)
        lowest = min(lowest, accuracies[fractions >= SHOWN_FROM].min())
    ax.plot(*_curve(~np.asarray(right, bool), right), ":", color=GREY, label="best")
    ax.set(xlim=(0, 1), ylim=(lowest - 0.03 * (1 - lowest), 1 + 0.03 * (1 - lowest)))
    ax.legend(frameon=False)
    tidy(ax, "fraction of inputs accepted", "accuracy on them", "Rejection")
    return figure


def _curve(uncertainty: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accepted fractions, from one input to all, and the accuracy on them."""
    levels, place = np.unique(np.ravel(uncertainty), return_inverse=True)
    # Equal uncertainties have no order but that of the data set: take their mean.
    inputs = np.bincount(place, minlength=len(levels))
    hits = np.bincount(place, np.ravel(right).astype(float), len(levels))
    accepted = np.arange(1, inputs.sum() + 1)
    hits = np.cumsum(np.repeat(hits / inputs, inputs))
    return accepted / len(accepted), hits / accepted
