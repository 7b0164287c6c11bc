"""Histograms of uncertainty: the fractions that they show."""

import numpy as np
import pytest

from keras_dnn import plotting
from tests.plotting.drawn import labels, legend

GROUPS = {
    "right": np.array([0.05, 0.15, 0.15, 0.35]),
    "wrong": np.array([[1.05], [3.0]]),
    "foreign": np.array([2.05]),
    "nothing": np.array([]),
}


def outlines(ax):
    """Of each group, left edges of the bins that are not empty, with their heights."""
    return [
        {
            round(float(left), 6): float(height)
            for left, height in zip(edges, heights, strict=False)
            if height > 0
        }
        # Each is drawn twice, filled and as a line.
        for heights, edges, _ in (patch.get_data() for patch in ax.patches[1::2])
    ]


def test_each_group_adds_up_to_one_on_bins_of_all():
    figure = plotting.uncertainties(GROUPS, "mutual information")
    (ax,) = figure.axes
    right, wrong, foreign, nothing = outlines(ax)
    assert right == pytest.approx({0.0: 0.25, 0.1: 0.5, 0.3: 0.25})
    assert wrong == pytest.approx({1.0: 0.5, 2.9: 0.5})
    assert foreign == pytest.approx({2.0: 1.0})
    assert nothing == {}
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["right (4)", "wrong (2)", "foreign (1)", "nothing (0)"]
    assert ax.get_xlabel() == "mutual information"


def test_the_entropy_of_classes_and_its_parts():
    expected, mutual = np.array([0.1, 0.5, 1.0]), np.array([0.0, 1.0, 2.0])
    right = np.array([True, False, True])
    histogram, parts = plotting.predicted_classes(expected, mutual, right).axes
    yes, no = outlines(histogram)
    assert yes == pytest.approx({0.1: 0.5, 2.9: 0.5})
    assert no == pytest.approx({1.5: 1.0})
    yes, no = (points.get_offsets() for points in parts.collections)
    np.testing.assert_allclose(yes, [[0.1, 0.0], [1.0, 2.0]])
    np.testing.assert_allclose(no, [[0.5, 1.0]])
    names = [text.get_text() for text in histogram.get_legend().get_texts()]
    assert names == ["right (2)", "wrong (1)"]


def test_without_labels_there_is_one_group():
    expected, mutual = np.array([[0.1, 0.5]]), np.array([[0.0, 1.0]])
    histogram, parts = plotting.predicted_classes(expected, mutual).axes
    (drawn,) = outlines(histogram)
    assert drawn == pytest.approx({0.1: 0.5, 1.45: 0.5})
    (points,) = parts.collections
    np.testing.assert_allclose(points.get_offsets(), [[0.1, 0.0], [0.5, 1.0]])
    assert histogram.get_legend() is None
    assert labels(histogram) == ("entropy of the prediction (nats)", "fraction")
    assert labels(parts) == (
        "expected entropy: due to the data (nats)",
        "mutual information (nats)",
    )


def test_numbers_in_their_order():
    mean, std, y = np.array([3.0, 1.0]), np.array([0.5, 0.1]), np.array([2.5, 1.5])
    (ax,) = plotting.predicted_numbers(mean, std, y).axes
    line, truth = ax.lines
    np.testing.assert_allclose(line.get_ydata(), [1.0, 3.0])
    np.testing.assert_allclose(truth.get_ydata(), [1.5, 2.5])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert sorted(set(np.round(band, 6))) == pytest.approx([0.8, 1.2, 2.0, 4.0])


def test_without_true_numbers_only_predictions_are_drawn():
    (ax,) = plotting.predicted_numbers(np.arange(3.0), np.ones(3)).axes
    assert len(ax.lines) == 1
    assert legend(ax) == ["mean ± 2 std"]
    assert labels(ax) == ("inputs, sorted by prediction", "prediction")


def test_refuses_true_numbers_of_another_count():
    with pytest.raises(ValueError, match=r"y must hold 3 numbers.*\(2,\)"):
        plotting.predicted_numbers(np.arange(3.0), np.ones(3), np.ones(2))


def test_no_groups_make_an_empty_figure():
    assert not plotting.uncertainties({}).axes[0].patches
