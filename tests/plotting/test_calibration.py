"""The reliability diagram: accuracy over confidence, and the inputs of each bin."""

import numpy as np

from keras_dnn import plotting
from tests.plotting.drawn import bars, colour, labels, legend, line

NAN = np.nan
FIRST = np.array([0.2, NAN, 0.9]), np.array([0.4, NAN, 0.8]), np.array([10, 0, 30])
SECOND = np.array([0.1, 0.5, 0.7]), np.array([0.1, 0.6, 0.6]), np.array([2, 6, 2])


def test_accuracy_over_confidence_beside_the_diagonal():
    diagram, _ = plotting.reliability({"one": FIRST, "two": SECOND}).axes
    np.testing.assert_array_equal(line(diagram, "calibrated"), [[0, 0], [1, 1]])
    # An empty bin has no point.
    np.testing.assert_array_equal(line(diagram, "one"), [[0.2, 0.4], [0.9, 0.8]])
    np.testing.assert_array_equal(line(diagram, "two"), np.stack(SECOND[:2], axis=1))
    assert legend(diagram) == ["calibrated", "one", "two"]
    assert (diagram.get_xlim(), diagram.get_ylim()) == ((0, 1), (0, 1))
    assert labels(diagram) == ("", "accuracy")


def test_bars_of_two_models_share_the_width_of_a_bin():
    _, fractions = plotting.reliability({"one": FIRST, "two": SECOND}).axes
    found = bars(fractions)
    np.testing.assert_allclose([b[0] for b in found[:3]], [0, 1 / 3, 2 / 3])
    np.testing.assert_allclose([b[0] for b in found[3:]], [1 / 6, 1 / 2, 5 / 6])
    np.testing.assert_allclose([b[2] for b in found], 1 / 6)
    np.testing.assert_allclose([b[3] for b in found[:3]], [0.25, 0, 0.75])
    np.testing.assert_allclose([b[3] for b in found[3:]], [0.2, 0.6, 0.2])
    assert labels(fractions) == ("confidence", "fraction of inputs")


def test_more_models_than_colours_are_distinguished():
    diagram, fractions = plotting.reliability(dict.fromkeys("abcde", SECOND)).axes
    assert len({colour(each) for each in diagram.lines[1:]}) == 5
    assert len({colour(each) for each in fractions.patches}) == 5
