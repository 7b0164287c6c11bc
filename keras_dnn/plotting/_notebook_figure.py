"""Figures that a notebook shows once; imported only where matplotlib is."""

from __future__ import annotations

from matplotlib import get_backend
from matplotlib import pyplot as plt
from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A figure that may be the last expression of a notebook's cell.

    A notebook shows the value of the last expression, and `%matplotlib inline` shows
    all open figures when the cell ends and closes them: the same figure twice.
    """

    def _ipython_display_(self) -> None:
        """Closes a figure that is about to be shown, so that this is the only time.

        Raises:
            NotImplementedError: always, by which IPython shows the figure as usual.
        """
        if "inline" in get_backend():
            plt.close(self)
        raise NotImplementedError
