"""How large gradients are, over training and over depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn.plotting._matplotlib import BLUE, ORANGE, new_figure, tidy
from keras_dnn.plotting._names import without_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def gradient_norms(
    steps: np.ndarray,
    names: Sequence[str],
    norms: np.ndarray,
    global_norms: np.ndarray,
    global_clipped_norms: np.ndarray | None = None,
) -> Figure:
    """Draws the global norm over steps, and the norm of each variable as a heat map.

    Args:
        steps: recorded steps, of shape `(steps,)`.
        names: of the variables, first layer first.
        norms: of shape `(steps, variables)`; zero and NaN are blank.
        global_norms: of shape `(steps,)`, before clipping.
        global_clipped_norms: the same after clipping; drawn where it differs.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn import plotting
        >>> norms = np.array([[1.0, 0.1], [2.0, 0.2]])
        >>> figure = plotting.gradient_norms(
        ...     np.arange(2), ["kernel", "bias"], norms, np.linalg.norm(norms, axis=1)
        ... )
    """
    height = 0.22 * max(len(names), 4)
    figure = new_figure(figsize=(8, 2.6 + height), layout="constrained")
    line, heat = figure.subplots(2, 1, height_ratios=(1.8, height), sharex=True)
    line.plot(steps, global_norms, color=BLUE, linewidth=0.8, label="gradient")
    if global_clipped_norms is not None and not np.array_equal(
        global_norms, global_clipped_norms, equal_nan=True
    ):
        line.plot(
            steps, global_clipped_norms, color=ORANGE, linewidth=0.8, label="clipped"
        )
        line.legend(frameon=False, ncols=2)
    line.set_yscale("log")
    tidy(line, "", "global norm", "Gradient norms")

    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.ma.masked_invalid(np.log10(norms.T))
    step = steps[1] - steps[0] if len(steps) > 1 else 1
    image = heat.imshow(
        magnitude,
        aspect="auto",
        interpolation="nearest",
        extent=(steps[0] - step / 2, steps[-1] + step / 2, len(names) - 0.5, -0.5),
    )
    heat.set_yticks(range(len(names)), without_model(names), fontsize="small")
    heat.set_facecolor("white")
    tidy(heat, "step", "")
    figure.colorbar(image, ax=heat, label="log10 of the norm", aspect=12)
    return figure
