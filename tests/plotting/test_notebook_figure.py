"""A figure that is the last expression of a notebook's cell is shown once."""

import os
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_dnn import plotting
from keras_dnn.plotting import _notebook_figure as module
from keras_dnn.plotting._matplotlib import new_figure

INLINE = "module://matplotlib_inline.backend_inline"


@pytest.mark.parametrize("backend", [INLINE, "agg"])
def test_a_figure_that_is_shown_is_not_left_to_the_end_of_the_cell(
    backend, monkeypatch
):
    monkeypatch.setattr(module, "get_backend", lambda: backend)
    figure = new_figure()
    for _ in range(2):  # The next cell may show it again.
        with pytest.raises(NotImplementedError):
            figure._ipython_display_()
        assert plt.fignum_exists(figure.number) == (backend != INLINE)
    plt.close(figure)


def test_plots_are_figures_of_this_class():
    assert isinstance(plotting.trials({}, np.ones(1)), module.NotebookFigure)
    ax = plotting.error_parts(0.1, 0.2, 0.3)
    assert isinstance(ax.figure, module.NotebookFigure)


def test_a_notebook_shows_one_picture():
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    imports = "import numpy as np\nfrom keras_dnn import plotting\n"
    plot = "plotting.trials({'rate': np.ones(2)}, np.ones(2))"
    cells = [f"%matplotlib inline\n{imports}{plot}", f"figure = {plot}", "figure"]
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    kernel = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    nbclient.NotebookClient(notebook, timeout=120).execute(env=kernel)
    pictures = [
        sum("image/png" in output.get("data", {}) for output in cell.outputs)
        for cell in notebook.cells
    ]
    assert pictures == [1, 1, 1]
