"""Zero weights: two bars that make up each layer, and how many are not zero."""

import numpy as np

from keras_dnn import plotting
from keras_dnn.plotting._matplotlib import BLUE
from tests.plotting.drawn import bars, colour, labels, texts, ticks

FRACTIONS = {"first": 0.9, "second": 0.25, "empty": 1.0}
WEIGHTS = {"first": 12_000, "second": 40, "empty": 8}


def test_a_layer_is_a_bar_of_zeros_and_one_of_other_weights():
    ax = plotting.zero_weights(FRACTIONS, WEIGHTS)
    found = bars(ax)
    np.testing.assert_allclose([b[2] for b in found[:3]], [90, 25, 100])
    np.testing.assert_allclose([b[0] for b in found[3:]], [90, 25, 100])
    np.testing.assert_allclose([b[2] for b in found[3:]], [10, 75, 0])
    assert [colour(bar) for bar in ax.patches[3:]] == [BLUE] * 3
    assert texts(ax) == ["1,200 not zero", "30 not zero", "0 not zero"]
    assert ticks(ax.yaxis) == ["first", "second", "empty"]
    assert ax.yaxis_inverted()
    assert labels(ax) == ("weights that are zero (%)", "")


def test_is_drawn_where_it_is_asked_to():
    ax = plotting.zero_weights({}, {})
    assert plotting.zero_weights(FRACTIONS, WEIGHTS, ax=ax) is ax
