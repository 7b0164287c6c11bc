"""The result of mc_predict: as JSON, as text and as a picture."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from matplotlib.figure import Figure

from keras_dnn.models import mc_predict
from tests.models.mc_cases import (
    MEASURES,
    classifier,
    normal,
)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("activation", ["softmax", "linear"])
def test_the_result_is_ready_for_json(activation, keep):
    model = classifier(activation=activation)
    prediction = mc_predict(model, normal(3, 4), 4, return_samples=keep)

    found = json.loads(json.dumps(prediction.to_dict()))

    assert list(found) == [*MEASURES, "quantiles", "covariance", "samples"]
    np.testing.assert_array_equal(found["mean"], prediction.mean)
    assert (found["samples"] is not None) == keep
    assert (found["entropy"] is None) == (activation == "linear")


def test_the_result_of_several_outputs_is_ready_for_json():
    x = keras.Input((4,))
    y = layers.Dropout(0.5)(x)
    prediction = mc_predict(keras.Model(x, [y, layers.Softmax()(y)]), normal(3, 4), 4)
    found = json.loads(json.dumps(prediction.to_dict()))
    assert found["entropy"][0] is None
    np.testing.assert_array_equal(found["entropy"][1], prediction.entropy[1])


def test_the_result_as_text():
    prediction = mc_predict(classifier(), normal(7, 4), 4)
    assert "7 inputs" in str(prediction)
    assert f"mutual information {prediction.mutual_information.mean():.3g}" in str(
        prediction
    )
    numbers = str(mc_predict(classifier(activation="linear"), normal(7, 4), 4))
    assert "entropy" not in numbers


def test_the_result_of_several_outputs_as_text():
    x = keras.Input((4,))
    y = layers.Dropout(0.5)(x)
    text = str(mc_predict(keras.Model(x, [y, layers.Softmax()(y)]), normal(3, 4), 4))
    assert len(text.splitlines()) == 2


def test_the_result_cannot_be_changed():
    prediction = mc_predict(classifier(), normal(2, 4), 2)
    with pytest.raises(AttributeError):
        prediction.mean = 0


@pytest.mark.parametrize(
    ("outputs", "activation", "y"),
    [
        (3, "softmax", None),
        (3, "softmax", [0, 1, 2, 0, 1]),
        (1, "sigmoid", [0, 1, 1, 0, 1]),
        (1, "linear", None),
        (1, "linear", [0.1, 0.2, 0.3, 0.4, 0.5]),
    ],
)
def test_the_result_is_drawn(outputs, activation, y):
    model = classifier(outputs=outputs, activation=activation)
    figure = mc_predict(model, normal(5, 4), 4).plot(y)
    assert isinstance(figure, Figure)
    figure.canvas.draw()


def test_right_and_wrong_answers_are_told_apart():
    prediction = mc_predict(classifier(), normal(5, 4), 9, seed=1)
    winners = prediction.mean.argmax(-1)
    y = np.where(np.arange(5) < 2, winners, (winners + 1) % 3)
    figure = prediction.plot(y)
    texts = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert texts == ["right (2)", "wrong (3)"]


@pytest.mark.parametrize("activation", ["softmax", "linear"])
@pytest.mark.parametrize("y", [[0, 1], np.zeros((5, 3, 2))], ids=["few", "many"])
def test_labels_of_another_number_are_an_error(activation, y):
    prediction = mc_predict(classifier(activation=activation), normal(5, 4), 2)
    with pytest.raises(ValueError, match=r"^y must hold .*shape \("):
        prediction.plot(y)


def test_several_outputs_are_not_drawn():
    x = keras.Input((4,))
    y = layers.Dropout(0.5)(x)
    with pytest.raises(ValueError, match="output"):
        mc_predict(keras.Model(x, [y, y + 1]), normal(3, 4), 4).plot()
