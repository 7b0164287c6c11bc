"""How many weights of each layer are zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras_dnn.plotting._matplotlib import BLUE, GREY, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def zero_weights(
    fractions: Mapping[str, float],
    weights: Mapping[str, int],
    ax: Axes | None = None,
) -> Axes:
    """Draws how many weights of each layer are zero and how many are not.

    Args:
        fractions: of the weights that are zero, by the name of the layer.
        weights: how many there are, by the name of the layer.
        ax: where to draw; a new figure if `None`.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> from keras_dnn import plotting
        >>> ax = plotting.zero_weights(
        ...     {"first": 0.9, "second": 0.5}, {"first": 200, "second": 40}
        ... )
    """
    if ax is None:
        height = 1.2 + 0.3 * len(fractions)
        ax = new_figure(figsize=(6, height), layout="constrained").subplots()
    zero = [100 * fraction for fraction in fractions.values()]
    ax.barh(list(fractions), zero, color=GREY, alpha=0.35, label="zero")
    others = [100 - percentage for percentage in zero]
    bars = ax.barh(list(fractions), others, left=zero, color=BLUE, label="not zero")
    counts = [
        round((1 - fraction) * weights[name]) for name, fraction in fractions.items()
    ]
    labels = [f"{count:,} not zero" for count in counts]
    ax.bar_label(bars, labels, padding=3, fontsize=8)
    ax.set_xlim(0, 125)
    ax.set_xticks(range(0, 101, 20))
    ax.invert_yaxis()
    tidy(ax, "weights that are zero (%)", "")
    return ax
