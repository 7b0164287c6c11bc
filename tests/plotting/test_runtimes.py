"""Candidates for a model: the bars, the points and the texts beside them."""

import matplotlib as mpl
import numpy as np

from keras_dnn import plotting
from keras_dnn.plotting._matplotlib import GREY, ORANGE
from tests.plotting.drawn import colour, labels, texts, ticks


def test_times_differences_and_accuracies():
    figure = plotting.candidates(
        ["model.predict", "TFLite float32", "TFLite int8"],
        [80.0, 2.0, 0.5],
        [0.0, 1e-6, 0.03],
        [True, True, False],
        fastest="TFLite float32",
        accuracies=[0.9, 0.9, 0.895],
        tolerance=1e-4,
    )
    times, errors = figure.axes
    assert [bar.get_width() for bar in times.patches] == [80.0, 2.0, 0.5]
    texts = [text.get_text() for text in times.texts]
    assert texts == ["80 ms, 1×", "2 ms, 40×", "0.5 ms, 160×"]
    colours = [mpl.colors.to_hex(bar.get_facecolor()) for bar in times.patches]
    assert len(set(colours)) == 3
    points = errors.collections[0].get_offsets()
    np.testing.assert_allclose(points[1:, 0], [1e-6, 0.03])
    assert errors.lines[0].get_xdata()[0] == 1e-4
    assert [text.get_text() for text in errors.texts] == [
        "90.00%",
        "90.00%",
        "89.50%",
    ]


def test_without_accuracies_and_tolerance_neither_is_drawn():
    figure = plotting.candidates(["a", "b"], [3.0, 1.5], [0.0, 0.1], [True, False])
    times, errors = figure.axes
    assert texts(times) == ["3 ms, 1×", "1.5 ms, 2×"]
    assert not errors.texts
    assert not errors.lines
    # None is used: within the tolerance in grey, beyond it in orange.
    assert [colour(bar) for bar in times.patches] == [GREY, ORANGE]


def test_no_difference_has_a_place_on_the_logarithmic_axis():
    figure = plotting.candidates(["a"], [3.0], [0.0], [True], tolerance=0.0)
    _, errors = figure.axes
    assert errors.collections[0].get_offsets()[0, 0] == 1e-8
    assert errors.lines[0].get_xdata()[0] == 1e-8
    assert (errors.get_xscale(), figure.axes[0].get_xscale()) == ("log", "log")


def test_the_axes_are_labelled_and_the_reference_is_on_top():
    figure = plotting.candidates(["a", "b"], [3.0, 1.5], [0.0, 0.1], [True, True])
    times, errors = figure.axes
    assert labels(times) == ("milliseconds per call", "")
    assert labels(errors) == ("difference / standard deviation", "")
    assert ticks(times.yaxis) == ["a", "b"]
    assert times.yaxis_inverted()
