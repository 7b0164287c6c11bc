"""Whether a classifier is right as often as its confidence says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reliability(
    models: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> Figure:
    """Draws accuracy over confidence, and under it how many inputs each bin holds.

    Below the diagonal a model is overconfident.

    Args:
        models: for each name the confidences, the accuracies and the counts of the
            bins, each of shape `(bins,)`; NaN where a bin is empty.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> bins = np.array([0.3, 0.9]), np.array([0.4, 0.8]), np.array([10, 90])
        >>> figure = plotting.reliability({"model": bins})
    """
    figure = new_figure(figsize=(4.8, 5.6), layout="constrained")
    diagram, fractions = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    diagram.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="calibrated")
    colours = [BLUE, ORANGE, GREY]
    width = 1.0 / (len(models) or 1)
    for i, (name, (confidences, accuracies, counts)) in enumerate(models.items()):
        colour = colours[i] if i < len(colours) else f"C{i}"
        known = counts > 0
        diagram.plot(
            confidences[known], accuracies[known], "o-", color=colour, label=name
        )
        bar = width / len(counts)
        left = np.arange(len(counts)) / len(counts) + i * bar
        fractions.bar(left, counts / counts.sum(), bar, align="edge", color=colour)
    diagram.set(xlim=(0, 1), ylim=(0, 1))
    diagram.legend(frameon=False)
    tidy(diagram, "", "accuracy", "Reliability")
    tidy(fractions, "confidence", "fraction of inputs")
    return figure
