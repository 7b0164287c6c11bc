"""The parts of the gap between training and validation loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_gaps(
    losses: np.ndarray,
    lags: np.ndarray,
    regularisation_gaps: np.ndarray,
    generalisation_gaps: np.ndarray,
) -> Figure:
    """Draws four losses over the epochs, and the gaps between them.

    Args:
        losses: on training data in inference mode, of shape `(epochs,)`.
        lags: how much higher the reported loss was than that in training mode.
        regularisation_gaps: how much higher that was than `losses`.
        generalisation_gaps: how much higher the validation loss was than `losses`.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> losses = np.array([1.0, 0.5])
        >>> figure = plotting.training_gaps(losses, losses / 2, losses / 4, losses / 3)
    """
    figure = new_figure(figsize=(8, 4), layout="constrained")
    ax = figure.subplots()
    epochs = np.arange(1, len(losses) + 1)
    training = losses + regularisation_gaps
    lines = (
        ("reported by fit", training + lags, GREY, ":"),
        ("training mode, end of epoch", training, GREY, "-"),
        ("inference mode", losses, BLUE, "-"),
        ("validation", losses + generalisation_gaps, ORANGE, "-"),
    )
    for label, values, colour, style in lines:
        ax.plot(epochs, values, style, color=colour, marker=".", label=label)
    ax.fill_between(
        epochs, losses, losses + generalisation_gaps, color=ORANGE, alpha=0.15, lw=0
    )
    ax.locator_params(axis="x", integer=True)
    ax.legend(frameon=False)
    tidy(ax, "epoch", "loss", "Loss on training data, and the gap to validation")
    return figure
