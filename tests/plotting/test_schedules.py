"""Curves over steps, the losses of a training, and the range test."""

import numpy as np
import pytest

from keras_dnn import plotting
from keras_dnn.plotting._matplotlib import BLUE, ORANGE
from tests.plotting.drawn import box, colour, labels, legend, line

STEPS = np.arange(10)


def test_a_schedule_is_one_line_with_its_label():
    values = 0.1 / (1 + STEPS)
    ax = plotting.schedule(STEPS, values, label="momentum")
    (curve,) = ax.lines
    np.testing.assert_array_equal(curve.get_xydata(), np.stack([STEPS, values], 1))
    assert labels(ax) == ("step", "momentum")


def test_a_schedule_is_drawn_where_it_is_asked_to():
    ax = plotting.schedule(STEPS, STEPS)
    assert plotting.schedule(STEPS, 2 * STEPS, ax=ax) is ax
    assert len(ax.lines) == 2
    assert ax.get_ylabel() == "learning rate"


def test_losses_rates_and_momenta_are_drawn_below_one_another():
    losses, rates, momenta = 2.0 + STEPS, 0.1 * STEPS, 1 - 0.01 * STEPS
    figure = plotting.training_steps(STEPS, losses, rates, momenta)
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "loss",
        "learning rate",
        "momentum",
    ]
    for ax, values in zip(figure.axes, (losses, rates, momenta), strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_xdata(), STEPS)
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), values)
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "step"]


def test_without_momenta_there_is_no_panel_for_them():
    nan = np.full(10, np.nan)
    figure = plotting.training_steps(STEPS, 1.0 + STEPS, 0.1 * STEPS, nan)
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "learning rate"]
    assert labels(figure.axes[1])[0] == "step"


@pytest.mark.parametrize(("last", "scale"), [(19.0, "linear"), (21.0, "log")])
def test_losses_over_a_wide_range_are_drawn_on_a_logarithmic_scale(last, scale):
    losses = np.array([1.0, np.nan, np.inf, 2.0, last])
    figure = plotting.training_steps(np.arange(5), losses, losses, losses)
    assert [ax.get_yscale() for ax in figure.axes] == [scale, "linear", "linear"]


def drawn(rates):
    """Losses that fall to a minimum, their trend, and what is drawn of them."""
    losses = 2 - np.exp(-((np.log10(rates) + 2) ** 2))
    trend = losses.copy()
    trend[:5] = np.nan
    suggestions = {"valley": rates[30], "steepest": rates[20]}
    ax = plotting.range_test(rates, losses, trend, suggestions, (1e-3, 1e-2))
    return losses, trend, ax


def test_a_range_test_shows_losses_trend_and_suggestions():
    rates = np.geomspace(1e-6, 1.0, 50)
    losses, trend, ax = drawn(rates)
    points, curve = ax.lines[:2]
    np.testing.assert_array_equal(points.get_xydata(), np.stack([rates, losses], 1))
    np.testing.assert_array_equal(curve.get_ydata(), trend)
    assert ax.get_xscale() == "log"
    assert labels(ax) == ("learning rate", "loss of the batch")
    # Each suggestion lies on the trend; the first is highlighted and first in the list.
    for index, name in ((30, "valley"), (20, "steepest")):
        label = f"{name} {rates[index]:.1e}"
        np.testing.assert_allclose(line(ax, label), [[rates[index], trend[index]]])
    assert legend(ax) == [f"valley {rates[30]:.1e}", f"steepest {rates[20]:.1e}"]
    first = next(each for each in ax.lines if each.get_label().startswith("valley"))
    others = [each for each in ax.lines[2:] if each is not first]
    assert [colour(each) for each in (first, *others)] == [ORANGE, BLUE]
    (band,) = ax.patches
    assert tuple(box(band).intervalx) == pytest.approx((1e-3, 1e-2))


def test_the_trend_fills_the_vertical_axis_whatever_the_losses_do():
    rates = np.geomspace(1e-6, 1.0, 50)
    losses = np.linspace(1.0, 2.0, 50)
    wild = losses.copy()
    wild[-1] = 1e9
    ax = plotting.range_test(rates, wild, losses, {})
    assert ax.get_ylim() == pytest.approx((0.85, 2.3))
    assert ax.get_legend() is None
    assert not ax.patches


def test_evenly_spaced_rates_have_a_linear_axis():
    rates = np.linspace(0.01, 0.5, 50)
    ax = plotting.range_test(rates, rates, rates, {})
    assert ax.get_xscale() == "linear"


def test_without_a_trend_there_is_a_plot_still():
    rates = np.geomspace(1e-6, 1.0, 50)
    ax = plotting.range_test(rates, rates, np.full(50, np.nan), {"valley": 1e-3})
    np.testing.assert_allclose(line(ax, "valley 1.0e-03"), [[1e-3, 0.0]])
