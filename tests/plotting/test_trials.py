"""The trials of a search: a panel for each hyperparameter, the best highlighted."""

import numpy as np

from keras_dnn import plotting
from keras_dnn.plotting._matplotlib import ORANGE
from tests.plotting.drawn import colour, labels

SCORES = np.array([0.9, 0.8, 0.7])
RATES, UNITS = np.array([0.1, 0.01, 0.03]), np.array([64.0, np.nan, 16.0])


def drawn(**given):
    values = {"learning_rate": RATES, "units": UNITS}
    return plotting.trials(values, SCORES, **given).axes


def test_a_panel_for_each_hyperparameter():
    rate, units = drawn(objective="val_accuracy")
    for ax, values in ((rate, RATES), (units, UNITS)):
        others, best = ax.lines
        np.testing.assert_array_equal(
            others.get_xydata(), np.stack([values, SCORES], axis=1)[1:]
        )
        np.testing.assert_array_equal(best.get_xydata(), [[values[0], 0.9]])
        assert colour(best) == ORANGE
        assert colour(others) != ORANGE
    assert labels(rate) == ("learning_rate", "val_accuracy")
    # One label for the row.
    assert labels(units) == ("units", "")


def test_scales_and_a_line_at_the_edge_of_the_search_range():
    rate, units = drawn(log=["learning_rate"], alarms=["units"])
    assert (rate.get_xscale(), units.get_xscale()) == ("log", "linear")
    assert (len(rate.lines), len(units.lines)) == (2, 3)
    assert list(units.lines[1].get_xdata()) == [64.0, 64.0]


def test_three_panels_a_row_and_no_empty_ones():
    values = dict.fromkeys("abcd", RATES)
    axes = plotting.trials(values, SCORES).axes
    assert [ax.get_visible() for ax in axes] == [True] * 4 + [False] * 2
    assert [ax.get_ylabel() for ax in axes[:4]] == ["score", "", "", "score"]


def test_no_hyperparameters_make_an_empty_figure():
    (ax,) = plotting.trials({}, SCORES).axes
    assert not ax.get_visible()
