"""Certain and uncertain images: the right ones, in the right order."""

import numpy as np
import pytest

from keras_dnn import plotting

UNCERTAINTY = np.array([0.5, 0.1, 0.9, 0.3, 0.7])


def constant_images(*shape):
    """Image `i` holds nothing but `i / 10`."""
    return np.broadcast_to(np.arange(5).reshape(5, *[1] * len(shape)) / 10, (5, *shape))


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3)])
def test_the_least_uncertain_above_and_the_most_uncertain_below(shape):
    figure = plotting.uncertain_images(constant_images(*shape), UNCERTAINTY, count=2)
    shown = [ax.images[0].get_array() for ax in figure.axes]
    assert [round(10 * a.mean()) for a in shown] == [1, 3, 2, 4]
    assert all(a.shape[:2] == (4, 6) for a in shown)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["0.1", "0.3", "0.9", "0.7"]


def test_captions_belong_to_their_images():
    figure = plotting.uncertain_images(constant_images(4, 4), UNCERTAINTY, [*"abcde"])
    titles = [ax.get_title().split("\n") for ax in figure.axes]
    assert [t[0] for t in titles] == [*"bdaec", *"ceadb"]


@pytest.mark.parametrize(
    ("images", "uncertainty", "captions"),
    [
        (np.ones((3, 2, 2)), np.ones(2), None),
        (np.ones((2, 2, 2)), np.ones(2), ["a"]),
        (np.ones((0, 2, 2)), np.ones(0), None),
    ],
)
def test_other_lengths_are_an_error(images, uncertainty, captions):
    with pytest.raises(ValueError, match=r"same length.*Received: lengths \["):
        plotting.uncertain_images(images, uncertainty, captions)
