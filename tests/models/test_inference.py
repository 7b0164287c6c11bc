"""`optimize_for_inference`: the table is right, and the fastest candidate is chosen."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.models import optimize_for_inference
from tests.models.inference_cases import TENSORFLOW, candidate, classifier, normal

pytestmark = pytest.mark.usefixtures("short_turns")


def relative_difference(expected, found):
    """The second implementation, for one output."""
    error = np.abs(np.float64(expected) - np.float64(found))
    fractions = error / np.float64(expected).std()
    return fractions.max(), fractions.mean()


def test_every_runtime_is_a_candidate(measured):
    *_, result = measured
    names = [each.name for each in result.candidates]
    assert names == [
        "model.predict",
        "model(x)",
        *TENSORFLOW,
        "ONNX Runtime",
        "OpenVINO",
        "OpenVINO bfloat16",
    ]
    for name in ["model.predict", "model(x)", *TENSORFLOW]:
        assert candidate(result, name).failure == ""
        assert candidate(result, name).seconds > 0


def test_the_fastest_within_the_tolerance_is_what_a_call_runs(measured):
    model, x, _, result = measured
    usable = [r for r in result.candidates[2:] if r.largest_difference <= 1e-5]
    assert result.fastest == min(usable, key=lambda r: r.seconds).name
    assert [r.within for r in result.candidates[2:]] == [
        r in usable for r in result.candidates[2:]
    ]
    # Both round their weights.
    assert not candidate(result, "TFLite float16").within
    assert not candidate(result, "TFLite int8").within

    largest, mean = relative_difference(model.predict(x, verbose=0), result(x))
    found = candidate(result, result.fastest)
    assert found.largest_difference == pytest.approx(largest, abs=1e-6)
    assert found.mean_difference == pytest.approx(mean, abs=1e-6)


def test_speed_ups_are_relative_to_predict(measured):
    *_, result = measured
    predict = result.candidates[0]
    for found in result.candidates:
        if not found.failure:
            ratio = predict.seconds / found.seconds
            assert found.speed_up == pytest.approx(ratio, rel=1e-12)


def test_fewer_bits_are_smaller_and_less_accurate(measured):
    *_, result = measured
    wide, half, quarter = (candidate(result, name) for name in TENSORFLOW[3:])
    assert [r.bits for r in (wide, half, quarter)] == [32, 16, 8]
    weights = 4 * (36 + 4 + 144 * 256 + 256 + 256 * 3 + 3)
    assert wide.bytes == pytest.approx(weights, rel=0.05)
    assert half.bytes == pytest.approx(weights / 2, rel=0.1)
    assert quarter.bytes == pytest.approx(weights / 4, rel=0.2)
    assert wide.largest_difference < 1e-5
    assert 1e-5 < half.largest_difference < 1e-2
    assert half.largest_difference < quarter.largest_difference < 0.3
    for found in (wide, half, quarter):
        assert 0 <= found.mean_difference <= found.largest_difference


def test_accuracy_counts_the_labels(measured):
    model, x, labels, result = measured
    expected = (model.predict(x, verbose=0).argmax(1) == labels).mean()
    for name in ("model.predict", "model(x)", "tf.function", "TFLite float32"):
        assert candidate(result, name).accuracy == pytest.approx(expected, abs=1e-12)


def test_the_model_is_unchanged(measured):
    model, x, *_ = measured
    fresh = classifier()
    for weight, same in zip(model.weights, fresh.weights, strict=True):
        np.testing.assert_array_equal(weight, same)
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), fresh.predict(x, verbose=0)
    )


def test_no_candidate_within_the_tolerance(measured, tmp_path):
    model, x, *_ = measured
    result = optimize_for_inference(
        model, x, 1e-6, ["TFLite float16"], rounds=1, verbose=0
    )
    assert result.fastest is None
    assert "no candidate is within a difference of 1e-06" in str(result)
    with pytest.raises(RuntimeError, match="TFLite float16"):
        result(x)
    with pytest.raises(RuntimeError, match="within the tolerance"):
        result.save(tmp_path / "fast.zip")


def test_a_loss_of_accuracy_can_replace_the_tolerance(measured):
    model, x, *_ = measured
    right = model.predict(x, verbose=0).argmax(1)
    given = {"labels": right, "rounds": 1, "verbose": 0}
    result = optimize_for_inference(
        model, x, 0.0, ["TFLite float16"], max_accuracy_loss=0.0, **given
    )
    assert result.fastest == "TFLite float16"
    assert result.candidates[-1].accuracy == 1.0


def test_several_inputs_and_outputs_and_integers():
    words = keras.Input((5,), dtype="int32", name="words")
    numbers = keras.Input((1,), name="numbers")
    h = layers.GlobalAveragePooling1D()(layers.Embedding(20, 6)(words))
    h = layers.Concatenate()([layers.Dropout(0.1)(h), layers.Dense(4)(numbers)])
    outputs = {"kind": layers.Dense(3)(h), "more": [layers.Dense(2, "tanh")(h)]}
    model = keras.Model({"words": words, "numbers": numbers}, outputs)
    x = {
        "words": np.random.default_rng(1).integers(0, 20, (9, 5)),
        "numbers": normal(9),
    }
    result = optimize_for_inference(
        model, x, candidates=TENSORFLOW[2:4], batch_size=4, rounds=1, verbose=0
    )
    found, expected = result({**x, "not for the model": 0}), model(x)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(found["kind"], expected["kind"], atol=1e-5)
    np.testing.assert_allclose(found["more"][0], expected["more"][0], atol=1e-5)
    assert candidate(result, "frozen graph").largest_difference < 1e-5
    with pytest.raises(ValueError, match=r"keys \['words', 'numbers'\].*'words'"):
        result({"words": x["words"]})
    with pytest.raises(ValueError, match=r"rows of shape \(5,\).*\(9, 6\)"):
        result({**x, "words": np.zeros((9, 6))})
    with pytest.raises(ValueError, match=r"same length.*\[9, 2\]|\[2, 9\]"):
        result({**x, "words": x["words"][:2]})


class Own(keras.Model):
    """A model without a known graph."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x[0]), x[1]


def test_a_model_without_a_graph_is_not_folded():
    model, x = Own(), [normal(5, 3), normal(5, 2)]
    expected = model(x)
    result = optimize_for_inference(
        model, x, candidates=TENSORFLOW[:2], rounds=1, verbose=0
    )
    assert result.fastest == "tf.function"
    assert "could not be folded" in candidate(result, "folded tf.function").failure
    assert "Not folded" in str(result)
    for found, value in zip(result(x), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=1e-6)


def stateful():
    return keras.Sequential(
        [keras.Input(batch_shape=(2, 3, 4)), layers.GRU(2, stateful=True)]
    )


def of_four_rows():
    """Its graph holds the number of rows, unlike one that Keras gave its shape."""
    x = keras.Input(batch_shape=(4, 4))
    return keras.Model(x, keras.ops.reshape(layers.Dense(3)(x), (4, 3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tolerance": -1.0}, "tolerance must be"),
        (
            {"candidates": ["TFLite"]},
            r"'TFLite int8'.*Received: candidates=\['TFLite'\]",
        ),
        ({"candidates": []}, "candidates must be some of"),
        ({"candidates": "TFLite int8"}, "candidates must be a list"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"batch_size": 9}, r"at least batch_size rows.*\[8\] and batch_size=9"),
        ({"rounds": 0}, "rounds must be"),
        ({"threads": 0}, "threads must be"),
        ({"labels": np.zeros(3)}, "labels must have shape"),
        ({"max_accuracy_loss": 0.1}, "needs labels"),
        ({"max_accuracy_loss": -1, "labels": np.zeros(8)}, "max_accuracy_loss must be"),
        ({"data": iter([1])}, "data must be an array"),
        ({"data": 3.0}, "data must be an array"),
        ({"model": of_four_rows}, "batch_size must be 4, the only number of rows"),
        ({"model": stateful, "data": np.zeros((2, 3, 4))}, "must not keep a state"),
    ],
)
def test_bad_arguments(change, message):
    model = change.pop(
        "model", lambda: keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    )
    given = {"data": np.zeros((8, 4), "float32"), "verbose": 0, **change}
    with pytest.raises(ValueError, match=message):
        optimize_for_inference(model(), **given)
