"""matplotlib, an optional dependency that is imported here only."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from keras_dnn.plotting._log_labels import label_log_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2066a8", "#d1711c", "#6b6b6b"
"""Two colours that colour-blind readers can distinguish, and one for the background."""


def pyplot() -> ModuleType:
    """The module `matplotlib.pyplot`.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib. Install it with: pip install 'keras_dnn[plot]'"
        ) from error
    return plt


def new_figure(**options: Any) -> Figure:
    """A new figure of pyplot, which a notebook shows once.

    Args:
        **options: as for `matplotlib.pyplot.figure`.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    plt = pyplot()
    from keras_dnn.plotting._notebook_figure import NotebookFigure

    figure: Figure = plt.figure(FigureClass=NotebookFigure, **options)
    return figure


def close(figure: Figure) -> None:
    """Frees the memory of a figure, which pyplot keeps until it is closed."""
    import matplotlib.pyplot as plt

    plt.close(figure)


def tidy(ax: Axes, xlabel: str, ylabel: str, title: str = "") -> None:
    """Labels the axes and removes lines that carry no information.

    A scale must be set before: matplotlib forgets labels of ticks with it.
    """
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if title:
        ax.set_title(title, loc="left", fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
    label_log_axes(ax)
