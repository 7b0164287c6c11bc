"""Candidates for a model: the bars, the points and the texts beside them."""

import matplotlib as mpl
import numpy as np

from keras_dnn import plotting


def test_what_is_drawn():
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
    mpl.pyplot.close(figure)
