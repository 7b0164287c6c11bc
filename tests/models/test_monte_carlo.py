"""mc_predict against NumPy on its own samples; its arguments, and its result."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from matplotlib.figure import Figure

from keras_dnn.models import MCPrediction, mc_predict
from tests.models.mc_cases import (
    CLASS_MEASURES,
    MEASURES,
    assert_measures,
    assert_zero_or_twice,
    classifier,
    normal,
    only_dropout,
)

# The measures


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_measures_are_those_of_the_samples(activation):
    model = classifier(
        outputs=3 if activation == "softmax" else 1, activation=activation
    )

    prediction = mc_predict(model, normal(9, 4), 50, seed=1, return_samples=True)

    assert isinstance(prediction, MCPrediction)
    assert prediction.samples.shape == (50, *prediction.mean.shape)
    assert prediction.variation_ratio.max() > 0
    assert_measures(prediction)


def test_measures_of_certain_votes_are_finite():
    """Probabilities of exactly 0 and 1 have no entropy."""
    x = keras.Input((4,))
    model = keras.Model(x, layers.Softmax()(layers.Dropout(0.5)(x) * 1e4))

    prediction = mc_predict(model, normal(5, 4), 20, seed=1, return_samples=True)

    assert 0.0 in prediction.samples
    assert np.isfinite(prediction.mutual_information).all()
    assert_measures(prediction)


def test_classes_at_each_position_of_a_sequence():
    x = keras.Input((5, 4))
    model = keras.Model(x, layers.Dense(3, "softmax")(layers.Dropout(0.5)(x)))

    prediction = mc_predict(model, normal(2, 5, 4), 30, seed=1, return_samples=True)

    assert prediction.mean.shape == (2, 5, 3)
    assert prediction.entropy.shape == (2, 5)
    assert_measures(prediction)


@pytest.mark.parametrize("end", ["activation layer", "nested model", "position-wise"])
def test_one_sigmoid_unit_is_one_of_two_classes(end):
    x = keras.Input((4,))
    y = layers.Dropout(0.5)(x)
    if end == "activation layer":
        y = layers.Activation("sigmoid")(layers.Dense(1)(y))
    elif end == "nested model":
        y = keras.Sequential([keras.Input((4,)), layers.Dense(1, "sigmoid")])(y)
    else:
        y = layers.Dense(1, "sigmoid")(layers.Reshape((2, 2))(y))
    model = keras.Model(x, y)

    prediction = mc_predict(model, 3 * normal(6, 4), 20, seed=1, return_samples=True)

    assert prediction.entropy.shape == prediction.mean.shape[:-1]
    assert_measures(prediction)


@pytest.mark.parametrize(
    ("outputs", "activation"),
    [(1, "linear"), (3, "linear"), (3, "relu"), (3, "sigmoid"), (1, "tanh")],
)
def test_numbers_have_no_class_measures(outputs, activation):
    model = classifier(outputs=outputs, activation=activation)

    prediction = mc_predict(model, normal(5, 4), 20, seed=1, return_samples=True)

    for name in CLASS_MEASURES:
        assert getattr(prediction, name) is None
    assert_measures(prediction, classes=False)


def test_the_kind_of_an_output_is_found_again_after_training():
    model = classifier(outputs=2, activation="linear")
    kernel, bias = model.layers[-1].weights
    kernel.assign(ops.zeros_like(kernel))
    bias.assign([0.5, 0.5])
    mc_predict(model, normal(5, 4), 5)
    kernel.assign(normal(*kernel.shape))

    assert mc_predict(model, normal(5, 4), 5).entropy is None


def test_mutual_information_lies_between_zero_and_the_entropy():
    for rate in (1e-4, 0.1, 0.5, 0.9):
        p = mc_predict(classifier(rate), normal(50, 4), 40)
        assert np.all(p.mutual_information >= 0)
        assert np.all(p.mutual_information <= p.entropy + 1e-12)
        assert np.all(p.entropy <= np.log(3) + 1e-6)
        assert np.all((p.variation_ratio >= 0) & (p.variation_ratio <= 1 - 1 / 3))


def test_the_deviation_of_large_numbers_keeps_its_digits():
    x = keras.Input((1,))
    model = keras.Model(x, layers.Dropout(0.5)(x) + 1e6)

    prediction = mc_predict(model, np.ones((3, 1)), 500, seed=1, return_samples=True)

    expected = (prediction.samples.astype("float64") - 1e6).std(0)
    np.testing.assert_allclose(prediction.std, expected, rtol=1e-9)
    assert prediction.std.min() > 0.9


@pytest.mark.parametrize("structure", ["list", "dict"])
def test_several_outputs_make_lists(structure):
    x = keras.Input((4,))
    dropped = layers.Dropout(0.5)(x)
    outputs = {
        "classes": layers.Dense(3, "softmax")(dropped),
        "certain": layers.Dense(2)(x),
        "numbers": layers.Dense(2)(dropped),
        "yes_or_no": layers.Dense(1, "sigmoid")(dropped),
    }
    names = list(outputs) if structure == "list" else sorted(outputs)
    model = keras.Model(x, outputs if structure == "dict" else list(outputs.values()))
    inputs = normal(5, 4)

    prediction = mc_predict(model, inputs, 20, seed=1, return_samples=True)

    for i, name in enumerate(names):
        one = MCPrediction(
            **{m: getattr(prediction, m)[i] for m in (*MEASURES, "samples")}
        )
        classes = name in ("classes", "yes_or_no")
        assert (one.entropy is not None) == classes
        assert_measures(one, classes=classes)
        if name == "certain":
            assert np.all(one.std == 0)
            expected = keras.tree.flatten(model.predict(inputs, verbose=0))[i]
            np.testing.assert_allclose(one.mean, expected, rtol=1e-5, atol=1e-6)
        else:
            assert np.all(one.std > 0)
    assert mc_predict(model, inputs, 2).samples is None


def test_one_output_in_a_list_is_not_several():
    x = keras.Input((4,))
    model = keras.Model(x, [layers.Dropout(0.5)(x)])
    assert mc_predict(model, normal(2, 4), 3).mean.shape == (2, 4)


def test_samples_are_kept_only_if_asked_for():
    model, x = classifier(), normal(50, 4)

    streamed = mc_predict(model, x, 130, seed=3)
    stored = mc_predict(model, x, 130, seed=3, return_samples=True)

    assert streamed.samples is None
    assert stored.samples.shape == (130, 50, 3)
    for name in MEASURES:
        np.testing.assert_array_equal(getattr(streamed, name), getattr(stored, name))


@pytest.mark.parametrize(
    ("samples", "rows", "batch_size"),
    [
        (1, 5, 32),
        (100, 1, 32),
        (7, 5, 2),
        (70, 100, 64),  # in chunks of 32, the last of 6; then in chunks of 56
        (3, 2500, 2500),  # more rows than a chunk holds
        (2049, 1, 1),
    ],
)
def test_any_number_of_samples_and_rows(samples, rows, batch_size):
    x = 1 + np.arange(rows, dtype="float32")[:, None]

    prediction = mc_predict(
        only_dropout(), x, samples, batch_size=batch_size, seed=1, return_samples=True
    )

    assert prediction.samples.shape == (samples, rows, 1)
    assert_zero_or_twice(prediction.samples, x)
    assert_measures(prediction, classes=False)


@pytest.mark.parametrize(
    "nothing",
    [
        np.empty((0, 4)),
        tf.data.Dataset.from_tensor_slices(np.empty((0, 4))).batch(2),
    ],
    ids=["array", "dataset"],
)
def test_no_inputs_are_an_error(nothing):
    with pytest.raises(ValueError, match="at least one"):
        mc_predict(classifier(), nothing)


# Arguments


@pytest.mark.parametrize("value", [0, -3, 2.0, "5", None])
@pytest.mark.parametrize("name", ["samples", "batch_size"])
def test_bad_numbers_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        mc_predict(classifier(), normal(2, 4), **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seed", 1.5),
        ("seed", "a"),
        ("seed", True),
        ("return_samples", "yes"),
        ("layers", "drop"),
        ("quantiles", 0.5),
    ],
)
def test_other_bad_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} must .*{name}={value!r}$"):
        mc_predict(classifier(), normal(2, 4), **{name: value})


@pytest.mark.parametrize("x", [None, 3.0, "abc", [[1.0, 2.0, 3.0, 4.0]], iter("ab")])
def test_inputs_without_rows_are_an_error(x):
    with pytest.raises(ValueError, match=r"^x must (hold arrays with a row|be data)"):
        mc_predict(classifier(), x)


@pytest.mark.parametrize("model", [None, print])
def test_anything_but_a_model_is_shown(model):
    with pytest.raises(ValueError, match=f"no layer with dropout.*model={model!r}"):
        mc_predict(model, normal(2, 4))


def test_inside_a_function_of_tensorflow_it_says_so():
    model = classifier()
    with pytest.raises(RuntimeError, match=r"can't be called inside a tf\.function"):
        tf.function(lambda x: mc_predict(model, x).mean)(normal(2, 4))


def test_numbers_of_numpy_are_integers_too():
    prediction = mc_predict(
        classifier(),
        normal(2, 4),
        np.int64(3),
        batch_size=np.int32(1),
        seed=np.int64(7),
        return_samples=True,
    )
    assert prediction.samples.shape == (3, 2, 3)


def test_a_progress_bar_is_shown_if_asked_for(capsys):
    model = classifier()
    mc_predict(model, normal(4, 4), 2, batch_size=2, verbose=0)
    assert capsys.readouterr().out == ""
    mc_predict(model, normal(4, 4), 2, batch_size=2, verbose=1)
    assert "2/2" in capsys.readouterr().out


# The result


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


def test_right_and_wrong_answers_are_drawn_apart():
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
