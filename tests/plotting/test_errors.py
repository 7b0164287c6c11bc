"""The parts of an error, end to end."""

import pytest

from keras_dnn import plotting
from keras_dnn.plotting._matplotlib import BLUE, GREY, ORANGE
from tests.plotting.drawn import bars, colour, labels, texts, ticks


def test_target_bias_and_variance_end_to_end():
    ax = plotting.error_parts(0.01, 0.08, 0.13)
    spans = [(left, left + width) for left, _, width, _ in bars(ax)]
    expected = [(0.0, 0.01), (0.01, 0.08), (0.08, 0.13)]
    for found, right in zip(spans, expected, strict=True):
        assert found == pytest.approx(right)
    assert texts(ax) == ["0.01", "0.07", "0.05"]
    assert ticks(ax.yaxis) == ["target", "avoidable bias", "variance"]
    assert [colour(bar) for bar in ax.patches] == [GREY, BLUE, ORANGE]
    assert labels(ax) == ("error", "")


def test_a_training_error_below_the_target_goes_back():
    ax = plotting.error_parts(0.10, 0.08, 0.13)
    spans = [(left, left + width) for left, _, width, _ in bars(ax)]
    for found, right in zip(spans, [(0, 0.1), (0.08, 0.1), (0.08, 0.13)], strict=True):
        assert found == pytest.approx(right)
    assert plotting.error_parts(0.0, 0.1, 0.2, ax=ax) is ax
