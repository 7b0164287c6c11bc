"""Labels of logarithmic axes: as many as fit, and none over another."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_dnn.plotting._log_labels import label_log_axes


def boxes(ax, which):
    """The labels that are drawn, in the order of the axis."""
    ax.figure.canvas.draw()
    axis = getattr(ax, f"{which}axis")
    low, high = sorted(axis.get_view_interval())
    ticks = [
        (tick.get_loc(), tick.label1)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
    ]
    shown = [
        (place, label.get_window_extent())
        for place, label in ticks
        if label.get_text() and low <= place <= high
    ]
    return [box for _, box in sorted(shown, key=lambda pair: pair[0])]


@pytest.mark.parametrize("which", ["x", "y"])
@pytest.mark.parametrize("size", [(2, 2), (3.2, 2.8), (8, 6)])
def test_labels_are_there_and_do_not_overlap(which, size):
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    ax.set(xscale="log", yscale="log")
    label_log_axes(ax)
    random = np.random.default_rng(0)
    for low, decades in [
        (1.66e-4, 1.035),
        *zip(10 ** random.uniform(-6, 3, 12), random.uniform(0.2, 4, 12), strict=True),
    ]:
        ax.set(xlim=(low, low * 10**decades), ylim=(low, low * 10**decades))
        found = boxes(ax, which)
        assert found
        for a, b in itertools.pairwise(found):
            assert a.x1 < b.x0 if which == "x" else a.y1 < b.y0
    plt.close(figure)


def test_a_wide_axis_of_a_decade_gets_the_labels_that_divide_it():
    figure, ax = plt.subplots(figsize=(6, 3))
    ax.set_xscale("log")
    ax.set_xlim(0.9, 11)
    label_log_axes(ax)
    figure.canvas.draw()
    texts = [label.get_text() for label in ax.get_xticklabels(which="minor")]
    shown = [text for text in texts if text]
    assert len(shown) == 2
    assert [t for t in shown if r"2\times" in t or r"5\times" in t] == shown
    plt.close(figure)
