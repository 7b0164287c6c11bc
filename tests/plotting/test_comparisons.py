"""Two models: differences with their interval, and who is right."""

import numpy as np
import pytest

from keras_dnn import plotting
from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE
from tests.plotting.drawn import bars, box, colour, labels, texts, ticks

DIFFERENCES = np.array([0.1, 0.3, -0.2])


def test_each_pair_is_a_point_beside_zero_the_middle_and_its_interval():
    ax = plotting.paired_differences(DIFFERENCES, 0.07, (-0.1, 0.2), ("new", "old"))
    zero, middle, points = ax.lines
    assert list(zero.get_xdata()) == [0, 0]
    assert list(middle.get_xdata()) == [0.07, 0.07]
    assert colour(middle) == ORANGE
    np.testing.assert_array_equal(
        points.get_xydata(), np.stack([DIFFERENCES, [1, 2, 3]], axis=1)
    )
    (band,) = ax.patches
    assert tuple(box(band).intervalx) == pytest.approx((-0.1, 0.2))
    assert labels(ax) == ("new - old", "pair")


def test_an_interval_without_ends_is_not_drawn():
    ax = plotting.paired_differences(DIFFERENCES, 0.07, (-np.inf, np.inf))
    assert not ax.patches


def test_bars_count_who_is_right():
    ax = plotting.agreement(np.array([[80, 12], [3, 5]]), ("new", "old"))
    assert [width for _, _, width, _ in bars(ax)] == [80, 12, 3, 5]
    assert ticks(ax.yaxis) == ["both", "only new", "only old", "neither"]
    assert texts(ax) == ["80", "12", "3", "5"]
    assert [colour(bar) for bar in ax.patches] == [GREY, BLUE, ORANGE, GREY]
    assert ax.yaxis_inverted()


def test_both_are_drawn_where_they_are_asked_to():
    ax = plotting.paired_differences(DIFFERENCES, 0.07, (-0.1, 0.2))
    assert plotting.paired_differences(DIFFERENCES, 0.1, (0.0, 0.2), ax=ax) is ax
    ax = plotting.agreement(np.ones((2, 2)))
    assert plotting.agreement(np.ones((2, 2)), ax=ax) is ax
