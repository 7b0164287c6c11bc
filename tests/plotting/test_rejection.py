"""The rejection curve, against counting by hand."""

import numpy as np
import pytest

from keras_dnn import plotting


def drawn(uncertainty, right):
    """The points of the model's line and of the best one."""
    ax = plotting.rejection({"model": (uncertainty, right)}).axes[0]
    return ax.lines[0].get_xydata(), ax.lines[1].get_xydata()


def test_accuracy_of_the_most_certain():
    line, best = drawn(
        np.array([0.4, 0.1, 0.3, 0.2]), np.array([False, True, True, False])
    )
    fractions = [0.25, 0.5, 0.75, 1.0]
    np.testing.assert_allclose(line, np.stack([fractions, [1, 1 / 2, 2 / 3, 1 / 2]], 1))
    np.testing.assert_allclose(best, np.stack([fractions, [1, 1, 2 / 3, 1 / 2]], 1))


def test_equals_the_definition():
    generator = np.random.default_rng(1)
    uncertainty, right = generator.uniform(size=200), generator.uniform(size=200) < 0.8
    line, _ = drawn(uncertainty.reshape(20, 10), right.reshape(20, 10))
    for k, (fraction, accuracy) in enumerate(line, 1):
        accepted = sorted(range(200), key=lambda i: uncertainty[i])[:k]
        assert fraction == pytest.approx(k / 200, rel=1e-12)
        assert accuracy == pytest.approx(sum(right[i] for i in accepted) / k, rel=1e-12)


def test_equal_uncertainties_have_no_order():
    """Their accuracy is the mean over all orders, whatever order they came in."""
    right = np.array([False, True, True, False, True])
    line, _ = drawn(np.array([1, 1, 0, 1, 1]), right)
    np.testing.assert_allclose(line[:, 1], [1, 3 / 4, 2 / 3, 5 / 8, 3 / 5])
    flat, _ = drawn(np.zeros(5), right)
    np.testing.assert_allclose(flat[:, 1], 0.6)


def test_a_line_for_each_model():
    two = np.array([0.1, 0.2]), np.array([True, False])
    ax = plotting.rejection(dict.fromkeys("abcd", two)).axes[0]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == [*"abcd", "best"]
    assert len({line.get_color() for line in ax.lines[:4]}) == 4


@pytest.mark.parametrize("models", [{}, {"none": (np.array([]), np.array([]))}])
def test_nothing_to_draw_is_an_error(models):
    with pytest.raises(ValueError, match="at least one"):
        plotting.rejection(models)
