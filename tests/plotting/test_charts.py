"""Panels of curves: places, names, scales and the healthy range."""

import numpy as np
import pytest

from keras_dnn import plotting
from tests.plotting.drawn import box, labels, legend, line, ticks

LOSSES = np.array([1.0, 0.5, 0.25])


def panel(x, curves, xlabel="step", log=False, healthy=None):
    return plotting.charts([("Title", x, xlabel, curves, log, healthy)]).axes[0]


def test_panels_are_drawn_below_one_another():
    curves = {"loss": LOSSES}
    panels = [
        ("First", np.arange(3), "epoch", curves, False, None),
        ("Second", np.arange(3), "step", curves, True, None),
    ]
    first, second = plotting.charts(panels).axes
    assert [ax.get_title(loc="left") for ax in (first, second)] == ["First", "Second"]
    assert first.get_position().y0 > second.get_position().y0
    assert (first.get_xlabel(), second.get_xlabel()) == ("epoch", "step")
    assert (first.get_yscale(), second.get_yscale()) == ("linear", "log")


def test_one_curve_is_named_by_the_axis():
    ax = panel(np.array([10, 20, 30]), {"loss": LOSSES})
    np.testing.assert_array_equal(line(ax, "loss"), [[10, 1], [20, 0.5], [30, 0.25]])
    assert labels(ax) == ("step", "loss")
    assert ax.get_legend() is None


def test_several_curves_are_named_by_the_legend():
    ax = panel(np.arange(3), {"training": LOSSES, "validation": 2 * LOSSES})
    np.testing.assert_array_equal(line(ax, "validation")[:, 1], 2 * LOSSES)
    assert legend(ax) == ["training", "validation"]
    assert ax.get_ylabel() == ""


def test_a_logarithmic_axis_leaves_out_what_is_not_positive():
    ax = panel(np.arange(4), {"norm": np.array([1.0, 0.0, -1.0, 2.0])}, log=True)
    np.testing.assert_array_equal(line(ax, "norm")[:, 1], [1, np.nan, np.nan, 2])


def test_the_healthy_range_is_shaded():
    ax = panel(np.arange(3), {"ratio": LOSSES}, healthy=(0.3, 0.6))
    (band,) = ax.patches
    assert tuple(box(band).intervaly) == pytest.approx((0.3, 0.6))
    assert not panel(np.arange(3), {"ratio": LOSSES}).patches


def test_names_are_places_without_the_name_of_the_model():
    ax = panel(("net/a", "net/b", "net/c"), {"ratio": LOSSES}, "layer")
    np.testing.assert_array_equal(line(ax, "ratio")[:, 0], [0, 1, 2])
    assert ticks(ax.xaxis) == ["a", "b", "c"]
    # Paths of two parts are variables of a layer, which has no model's name.
    ax = panel(("dense/kernel", "dense/bias", "dense/gamma"), {"r": LOSSES}, "variable")
    assert ticks(ax.xaxis) == ["dense/kernel", "dense/bias", "dense/gamma"]


def test_of_many_names_some_are_written():
    names = [f"net/layer_{i}" for i in range(50)]
    ax = panel(names, {"ratio": np.ones(50)}, "layer")
    assert ticks(ax.xaxis) == [f"layer_{i}" for i in range(0, 50, 3)]


def test_short_curves_have_markers():
    short, long = (panel(np.arange(n), {"loss": np.ones(n)}) for n in (59, 60))
    assert short.lines[0].get_marker() == "."
    assert long.lines[0].get_marker() == ""
