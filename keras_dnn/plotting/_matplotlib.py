"""matplotlib, an extra: imported here, and the error if it is missing."""

from __future__ import annotations

from typing import Any

BLUE, ORANGE, GREY = "#2066a8", "#d1711c", "#6b6b6b"
"""Two colours that the colour-blind tell apart too, and one for what is beside them."""


def pyplot() -> Any:
    """The module `matplotlib.pyplot`.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib. Install it with: pip install 'keras_dnn[plot]'"
        ) from error
    return plt


def close(figure: Any) -> None:
    """Lets go of a figure that nobody will look at any more."""
    import matplotlib.pyplot as plt

    plt.close(figure)


def tidy(ax: Any, xlabel: str, ylabel: str, title: str = "") -> None:
    """Names the axes and takes away what carries no information."""
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if title:
        ax.set_title(title, loc="left", fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
