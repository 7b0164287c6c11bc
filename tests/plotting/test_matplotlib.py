"""matplotlib: the error where it is missing, and the style of all axes."""

import sys

import matplotlib.pyplot as plt
import pytest

from keras_dnn import plotting
from keras_dnn.plotting._matplotlib import close, pyplot, tidy
from tests.plotting.drawn import labels


def test_a_missing_matplotlib_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'keras_dnn\[plot\]'"):
        plotting.error_parts(0.1, 0.2, 0.3)


def test_axes_are_labelled_and_have_two_lines():
    _, ax = pyplot().subplots()
    tidy(ax, "step", "loss", "Loss")
    assert labels(ax) == ("step", "loss")
    assert ax.get_title(loc="left") == "Loss"
    visible = {side: spine.get_visible() for side, spine in ax.spines.items()}
    assert visible == {"left": True, "bottom": True, "top": False, "right": False}


def test_a_closed_figure_is_forgotten():
    figure = pyplot().figure()
    close(figure)
    assert not plt.fignum_exists(figure.number)
