"""Activations: moments and units over depth, histograms over time."""

import numpy as np
import pytest

from keras_dnn import plotting
from tests.plotting.drawn import bars, legend, ticks


def drawn(layers, checks=3, bins=4):
    generator = np.random.default_rng(1)
    shape = (checks, layers)
    means, stds, dead, saturated = generator.uniform(size=(4, *shape))
    edges = np.tile(np.linspace(-2.0, 2.0, bins + 1), (*shape, 1))
    counts = generator.integers(1, 9, (*shape, bins)).astype(float)
    names = [f"model/layer_{i}" for i in range(layers)]
    steps = 100 * np.arange(checks)
    figure = plotting.activations(
        steps, names, means, stds, dead, saturated, counts, edges
    )
    return figure, means, stds, dead, saturated, counts


def test_moments_of_the_first_and_the_last_check_over_depth():
    figure, means, stds, *_ = drawn(layers=2)
    moments = figure.axes[0]
    assert legend(moments) == ["first check, step 0", "last check, step 200"]
    for container, check in zip(moments.containers, (0, -1), strict=True):
        points, _, (errors,) = container
        np.testing.assert_allclose(points.get_ydata(), means[check])
        ends = [segment[:, 1] for segment in errors.get_segments()]
        low, high = means[check] - stds[check], means[check] + stds[check]
        np.testing.assert_allclose(ends, np.stack([low, high], axis=1))
    assert moments.get_ylabel() == "mean ± std"


def test_dead_and_saturated_units_of_the_last_check_in_percent():
    figure, _, _, dead, saturated, _ = drawn(layers=3)
    units = figure.axes[1]
    heights = [height for *_, height in bars(units)]
    np.testing.assert_allclose(heights[:3], 100 * dead[-1])
    np.testing.assert_allclose(heights[3:], 100 * saturated[-1])
    assert legend(units) == ["dead", "saturated"]
    assert units.get_ylim() == (0, 100)
    assert ticks(units.xaxis) == ["layer_0", "layer_1", "layer_2"]
    assert units.get_ylabel() == "units at the last check (%)"


def test_a_histogram_over_time_for_each_layer():
    figure, *_, counts = drawn(layers=2)
    panels = figure.axes[2:]
    assert [ax.get_title(loc="left") for ax in panels] == ["layer_0", "layer_1"]
    for layer, ax in enumerate(panels):
        shown = ax.images[0].get_array()
        # A column for each check, the lowest bin first; areas as square roots.
        fractions = counts[:, layer] / counts[:, layer].sum(axis=1, keepdims=True)
        np.testing.assert_allclose(shown**2, fractions.T)
        assert ax.images[0].get_extent() == pytest.approx([-50, 250, -2, 2])


def test_bins_of_another_range_are_redrawn_on_common_bins():
    """The second check's outputs have twice the range of the first's."""
    ones, edges = np.ones((2, 1)), np.empty((2, 1, 5))
    edges[0, 0], edges[1, 0] = np.linspace(-1, 1, 5), np.linspace(-2, 2, 5)
    counts = np.ones((2, 1, 4))
    figure = plotting.activations(
        np.arange(2), ["layer"], 0 * ones, ones, 0 * ones, 0 * ones, counts, edges
    )
    shown = figure.axes[-1].images[0].get_array() ** 2
    np.testing.assert_allclose(shown[:, 0], [0, 0.5, 0.5, 0])
    np.testing.assert_allclose(shown[:, 1], 0.25)


def test_of_many_layers_twelve_have_a_histogram():
    figure, *_ = drawn(layers=30)
    shown = [ax for ax in figure.axes[2:] if ax.get_visible()]
    assert len(shown) == 12
    assert shown[0].get_title(loc="left") == "layer_0"
    assert shown[-1].get_title(loc="left") == "layer_29"


def test_empty_panels_of_the_last_row_are_hidden():
    figure, *_ = drawn(layers=5)
    assert [ax.get_visible() for ax in figure.axes[2:]] == [True] * 5 + [False] * 3
