"""How sure a model is of its predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, pyplot, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def predicted_classes(
    expected_entropy: np.ndarray,
    mutual_information: np.ndarray,
    right: np.ndarray | None = None,
) -> Figure:
    """Draws the entropy of class predictions and the two parts of it.

    Args:
        expected_entropy: what the data leaves open, of any shape.
        mutual_information: what the model does not know, of the same shape.
        right: whether each prediction is right, if that is known.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> figure = plotting.predicted_classes(
        ...     np.array([0.1, 0.5]), np.array([0.0, 0.4]), np.array([True, False])
        ... )
    """
    data, knowledge = expected_entropy.ravel(), mutual_information.ravel()
    if right is None:
        groups = [("all", np.full(data.shape, True), BLUE)]
    else:
        right = right.ravel()
        groups = [("right", right, BLUE), ("wrong", ~right, ORANGE)]

    figure: Figure = pyplot().figure(figsize=(9, 3.8), layout="constrained")
    histogram, parts = figure.subplots(1, 2)
    total = data + knowledge
    bins = np.linspace(0, max(total.max(initial=0.0), 1e-9), 31)
    for name, chosen, colour in groups:
        histogram.hist(
            total[chosen],
            bins,
            weights=np.full(chosen.sum(), 1 / max(chosen.sum(), 1)),
            color=colour,
            alpha=0.6,
            label=f"{name} ({chosen.sum()})",
        )
        parts.scatter(
            data[chosen], knowledge[chosen], s=7, color=colour, alpha=0.5, linewidths=0
        )
    if right is not None:
        histogram.legend(frameon=False)
    tidy(histogram, "entropy of the prediction (nats)", "share", "Uncertainty")
    tidy(
        parts,
        "expected entropy: what the data leaves open",
        "mutual information",
        "What the model does not know",
    )
    return figure


def predicted_numbers(
    mean: np.ndarray, std: np.ndarray, y: np.ndarray | None = None
) -> Figure:
    """Draws predicted numbers with twice their standard deviation, in order.

    Args:
        mean: of any shape.
        std: of the same shape.
        y: the true numbers, if they are known.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> figure = plotting.predicted_numbers(np.arange(3.0), np.ones(3))
    """
    mean, std = mean.ravel(), std.ravel()
    order = np.argsort(mean)
    mean, std, rank = mean[order], std[order], np.arange(mean.size)

    figure: Figure = pyplot().figure(figsize=(7, 3.8), layout="constrained")
    ax = figure.subplots()
    ax.fill_between(
        rank,
        mean - 2 * std,
        mean + 2 * std,
        color=BLUE,
        alpha=0.25,
        linewidth=0,
        label="mean ± 2 std",
    )
    ax.plot(rank, mean, color=BLUE)
    if y is not None:
        truth = np.asarray(y).ravel()[order]
        ax.plot(rank, truth, ".", color=GREY, markersize=4, label="true")
    ax.legend(frameon=False)
    tidy(ax, "inputs, in the order of their prediction", "prediction", "Uncertainty")
    return figure
