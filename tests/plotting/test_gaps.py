"""Four losses over the epochs, rebuilt from the gaps between them."""

import numpy as np

from keras_dnn import plotting
from tests.plotting.drawn import labels, legend, line

LOSSES = np.array([1.0, 0.5, 0.25])
LAGS = np.array([0.4, 0.2, 0.1])
REGULARISATION = np.array([0.3, 0.1, 0.05])
GENERALISATION = np.array([0.1, 0.2, 0.4])


def test_each_loss_is_the_sum_of_its_gaps():
    figure = plotting.training_gaps(LOSSES, LAGS, REGULARISATION, GENERALISATION)
    (ax,) = figure.axes
    expected = {
        "reported by fit": [1.7, 0.8, 0.4],
        "training mode, end of epoch": [1.3, 0.6, 0.3],
        "inference mode": [1.0, 0.5, 0.25],
        "validation": [1.1, 0.7, 0.65],
    }
    for label, values in expected.items():
        np.testing.assert_allclose(line(ax, label), np.stack([[1, 2, 3], values], 1))
    assert legend(ax) == list(expected)
    assert labels(ax) == ("epoch", "loss")


def test_the_gap_to_validation_is_shaded():
    figure = plotting.training_gaps(LOSSES, LAGS, REGULARISATION, GENERALISATION)
    (band,) = figure.axes[0].collections
    vertices = {tuple(np.round(v, 6)) for v in band.get_paths()[0].vertices}
    lower = {(i, round(v, 6)) for i, v in enumerate(LOSSES, 1)}
    upper = {(i, round(v, 6)) for i, v in enumerate(LOSSES + GENERALISATION, 1)}
    assert lower | upper == vertices
