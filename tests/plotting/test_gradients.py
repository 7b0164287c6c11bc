"""Gradient norms: a line for all variables, and a row of a heat map for each."""

import numpy as np

from keras_dnn import plotting
from tests.plotting.drawn import labels, legend, line, ticks

STEPS = np.array([10, 12, 14])
NAMES = ["model/dense/kernel", "model/dense/bias"]
NORMS = np.array([[1.0, 0.1], [10.0, 0.0], [np.nan, 100.0]])
GLOBAL = np.array([1.005, 10.0, 100.0])


def test_a_line_of_the_global_norm_and_a_heat_map_of_logarithms():
    line_, heat, bar = plotting.gradient_norms(STEPS, NAMES, NORMS, GLOBAL).axes
    np.testing.assert_array_equal(
        line(line_, "gradient"), np.stack([STEPS, GLOBAL], axis=1)
    )
    assert line_.get_yscale() == "log"
    assert labels(line_) == ("", "global norm")
    assert line_.get_legend() is None

    (image,) = heat.images
    shown = image.get_array()
    # The first variable in the first row; zero and NaN are blank.
    np.testing.assert_array_equal(shown.mask, [[0, 0, 1], [0, 1, 0]])
    np.testing.assert_allclose(shown.filled(9), [[0, 1, 9], [-1, 9, 2]], atol=1e-12)
    # Steps are the middles of columns two steps wide.
    assert image.get_extent() == [9.0, 15.0, 1.5, -0.5]
    assert ticks(heat.yaxis) == ["dense/kernel", "dense/bias"]
    assert labels(heat) == ("step", "")
    assert bar.get_ylabel() == "log10 of the norm"


def test_the_clipped_norm_is_drawn_where_it_differs():
    clipped = np.minimum(GLOBAL, 5.0)
    figure = plotting.gradient_norms(STEPS, NAMES, NORMS, GLOBAL, clipped)
    upper = figure.axes[0]
    np.testing.assert_array_equal(line(upper, "clipped")[:, 1], clipped)
    assert legend(upper) == ["gradient", "clipped"]


def test_an_equal_clipped_norm_is_not_drawn_though_some_are_nan():
    norms = np.array([1.0, np.nan, 3.0])
    figure = plotting.gradient_norms(STEPS, NAMES, NORMS, norms, norms.copy())
    assert len(figure.axes[0].lines) == 1


def test_one_step_is_one_column():
    figure = plotting.gradient_norms(STEPS[:1], NAMES, NORMS[:1], GLOBAL[:1])
    assert figure.axes[1].images[0].get_extent() == [9.5, 10.5, 1.5, -0.5]
