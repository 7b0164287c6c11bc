"""How certain a model is of its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS = (BLUE, ORANGE, GREY)


def predicted_classes(
    expected_entropy: np.ndarray,
    mutual_information: np.ndarray,
    right: np.ndarray | None = None,
) -> Figure:
    """Draws the entropy of class predictions and its two parts.

    Args:
        expected_entropy: the uncertainty due to the data, of any shape.
        mutual_information: the uncertainty due to the model, of the same shape.
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
        groups = {"all": np.full(data.shape, True)}
    else:
        right = right.ravel()
        groups = {"right": right, "wrong": ~right}

    figure = new_figure(figsize=(9, 3.8), layout="constrained")
    histogram, parts = figure.subplots(1, 2)
    total = data + knowledge
    _histograms(histogram, {name: total[chosen] for name, chosen in groups.items()})
    for colour, chosen in zip(COLOURS, groups.values(), strict=False):
        parts.scatter(
            data[chosen], knowledge[chosen], s=7, color=colour, alpha=0.5, linewidths=0
        )
    if right is not None:
        histogram.legend(frameon=False)
    tidy(histogram, "entropy of the prediction (nats)", "fraction", "Uncertainty")
    tidy(
        parts,
        "expected entropy: due to the data (nats)",
        "mutual information (nats)",
        "Uncertainty due to the model",
    )
    return figure


def uncertainties(
    groups: Mapping[str, np.ndarray], label: str = "entropy of the prediction (nats)"
) -> Figure:
    """Draws how a measure of uncertainty is distributed in each group of inputs.

    Such groups are the inputs classified correctly, those classified wrongly, and
    inputs of a kind that the model was not trained on. The less two groups overlap, the
    better the measure distinguishes them.

    Args:
        groups: the measure of each input, by the name of the group, of any shape.
        label: what the measure is.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> groups = {"known": np.array([0.1, 0.2]), "foreign": np.array([0.9])}
        >>> figure = plotting.uncertainties(groups)
    """
    figure = new_figure(figsize=(6, 3.8), layout="constrained")
    ax = figure.subplots()
    _histograms(ax, {name: np.ravel(values) for name, values in groups.items()})
    if groups:
        ax.legend(frameon=False)
    tidy(ax, label, "fraction", "Uncertainty")
    return figure


def _histograms(ax: Axes, groups: Mapping[str, np.ndarray]) -> None:
    """One on top of the other, on the same bins, each summing to 1."""
    largest = max((v.max(initial=0.0) for v in groups.values()), default=0.0)
    bins = np.linspace(0, max(largest, 1e-9), 31)
    for i, (name, values) in enumerate(groups.items()):
        colour = COLOURS[i] if i < len(COLOURS) else f"C{i}"
        fractions = np.histogram(values, bins)[0] / max(values.size, 1)
        ax.stairs(fractions, bins, fill=True, color=colour, alpha=0.2)
        ax.stairs(fractions, bins, color=colour, label=f"{name} ({values.size})")


def predicted_numbers(
    mean: np.ndarray, std: np.ndarray, y: np.ndarray | None = None
) -> Figure:
    """Draws predicted numbers with twice their standard deviation, in ascending order.

    Args:
        mean: of any shape.
        std: of the same shape.
        y: the true numbers, if they are known.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if `y` does not hold as many numbers as `mean`.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> figure = plotting.predicted_numbers(np.arange(3.0), np.ones(3))
    """
    if y is not None and np.size(y) != mean.size:
        raise ValueError(
            f"y must hold {mean.size} numbers, as mean does. "
            f"Received: shape {np.shape(y)}"
        )
    mean, std = mean.ravel(), std.ravel()
    order = np.argsort(mean)
    mean, std, rank = mean[order], std[order], np.arange(mean.size)

    figure = new_figure(figsize=(7, 3.8), layout="constrained")
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
    tidy(ax, "inputs, sorted by prediction", "prediction", "Uncertainty")
    return figure
