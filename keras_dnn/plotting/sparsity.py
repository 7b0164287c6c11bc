"""How many weights of each layer are zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras_dnn.plotting._matplotlib import BLUE, GREY, pyplot, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def zero_weights(
    shares: Mapping[str, float], weights: Mapping[str, int], ax: Axes | None = None
) -> Axes:
    """Draws for each layer how many of its weights are zero and how many are not.

    Args:
        shares: by the name of a layer, the share of its weights that are zero.
        weights: by the name of a layer, how many weights it has.
        ax: where to draw; a new figure if `None`.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> from keras_dnn import plotting
        >>> shares, weights = (
        ...     {"first": 0.9, "second": 0.5},
        ...     {"first": 200, "second": 40},
        ... )
        >>> ax = plotting.zero_weights(shares, weights)
    """
    if ax is None:
        height = 1.2 + 0.3 * len(shares)
        _, ax = pyplot().subplots(figsize=(6, height), layout="constrained")
    zero = [100 * share for share in shares.values()]
    ax.barh(list(shares), zero, color=GREY, alpha=0.35, label="zero")
    left = [100 - share for share in zero]
    bars = ax.barh(list(shares), left, left=zero, color=BLUE, label="left")
    counts = [round((1 - share) * weights[name]) for name, share in shares.items()]
    ax.bar_label(bars, [f"{count:,} left" for count in counts], padding=3, fontsize=8)
    ax.set_xlim(0, 120)
    ax.set_xticks(range(0, 101, 20))
    ax.invert_yaxis()
    tidy(ax, "weights that are zero (%)", "")
    return ax
