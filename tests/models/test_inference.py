"""`optimize_for_inference`: what the ladder says is so, and the fastest form serves."""

import concurrent.futures
import json
import pickle
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_dnn.models import InferenceResult, Rung, optimize_for_inference
from keras_dnn.models._runtimes import measuring
from keras_dnn.models._runtimes.quantize import quantize
from keras_dnn.models._runtimes.registry import FORMS
from keras_dnn.models._runtimes.signature import input_ports
from keras_dnn.models._runtimes.source import Network

TENSORFLOWS = [
    "tf.function",
    "folded tf.function",
    "frozen graph",
    "TFLite float32",
    "TFLite float16",
    "TFLite int8",
]


@pytest.fixture(scope="module", autouse=True)
def short_turns():
    """One call that is not timed and one that is: what they last is not looked at."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PAUSE", "WARM", "TIMED"):
            patch.setattr(measuring, name, 0.0)
        yield


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def classifier():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ]
    )
    norm = model.layers[1]
    norm.moving_mean.assign([0.1, -0.2, 0.3, 0.0])
    norm.moving_variance.assign([0.5, 1.5, 0.7, 2.0])
    return model


def spread_difference(expected, found):
    """The second implementation, for one output."""
    off = np.abs(np.float64(expected) - np.float64(found)) / np.float64(expected).std()
    return off.max(), off.mean()


@pytest.fixture(scope="module")
def measured():
    """A model, its data with labels, and its whole ladder."""
    model, x = classifier(), normal(70, 8, 8, 1)
    labels = np.random.default_rng(2).integers(0, 3, 70)
    result = optimize_for_inference(
        model, x, tolerance=1e-5, labels=labels, rounds=2, verbose=0
    )
    return model, x, labels, result


def rung(result, name) -> Rung:
    return next(rung for rung in result.rungs if rung.name == name)


def test_every_form_is_on_the_ladder(measured):
    *_, result = measured
    names = [rung.name for rung in result.rungs]
    assert names == [
        "model.predict",
        "model(x)",
        *TENSORFLOWS,
        "ONNX Runtime",
        "OpenVINO",
        "OpenVINO bfloat16",
    ]
    for name in ["model.predict", "model(x)", *TENSORFLOWS]:
        assert rung(result, name).failure == ""
        assert rung(result, name).seconds > 0


def test_the_fastest_within_the_tolerance_is_what_a_call_runs(measured):
    model, x, _, result = measured
    usable = [r for r in result.rungs[2:] if r.largest_difference <= 1e-5]
    assert result.fastest == min(usable, key=lambda r: r.seconds).name
    assert [r.within for r in result.rungs[2:]] == [
        r in usable for r in result.rungs[2:]
    ]
    # Each of these rounds its weights.
    assert not rung(result, "TFLite float16").within
    assert not rung(result, "TFLite int8").within

    largest, mean = spread_difference(model.predict(x, verbose=0), result(x))
    found = rung(result, result.fastest)
    assert found.largest_difference == pytest.approx(largest, abs=1e-6)
    assert found.mean_difference == pytest.approx(mean, abs=1e-6)


def test_speed_ups_are_over_predict(measured):
    *_, result = measured
    predict = result.rungs[0]
    for found in result.rungs:
        if not found.failure:
            ratio = predict.seconds / found.seconds
            assert found.speed_up == pytest.approx(ratio, rel=1e-12)


def test_fewer_bits_are_smaller_and_further_away(measured):
    *_, result = measured
    wide, half, quarter = (rung(result, name) for name in TENSORFLOWS[3:])
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


def test_accuracy_is_that_of_the_labels(measured):
    model, x, labels, result = measured
    expected = (model.predict(x, verbose=0).argmax(1) == labels).mean()
    for name in ("model.predict", "model(x)", "tf.function", "TFLite float32"):
        assert rung(result, name).accuracy == pytest.approx(expected, abs=1e-12)


def test_any_number_of_rows(measured):
    model, x, _, result = measured
    assert result(x[:0]).shape == (0, 3)
    for rows in (1, 7):
        np.testing.assert_allclose(result(x[:rows]), model(x[:rows]), atol=1e-5)


def test_threads_do_not_disturb_one_another(measured):
    *_, x, _, result = measured
    rows = [x[i : i + 1] for i in range(64)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(result, rows))
    np.testing.assert_array_equal(np.concatenate(found), [result(a)[0] for a in rows])


def test_the_text_shows_the_ladder_and_the_reasons(measured):
    *_, result = measured
    text = str(result)
    for found in result.rungs:
        assert found.name in text
    assert f"{rung(result, 'TFLite int8').largest_difference:.1e}" in text
    assert "beyond the tolerance" in text
    assert "dropped that do nothing at inference: 2" in text
    assert "folded: 1 of 1" in text
    assert json.loads(json.dumps(result.to_dict()))["fastest"] == result.fastest


def test_the_picture_has_a_bar_for_each_form(measured):
    *_, result = measured
    times, errors = result.plot().axes
    there = [r for r in result.rungs if not r.failure]
    widths = [bar.get_width() for bar in times.patches]
    np.testing.assert_allclose(widths, [1e3 * r.seconds for r in there])
    assert len(errors.collections[0].get_offsets()) == len(there)


ELSEWHERE = """
import pickle, sys
import numpy as np
from keras_dnn.models import InferenceResult

x = np.load(sys.argv[2])
with open(sys.argv[1] + ".pickle", "rb") as file:
    pickled = pickle.load(file)
loaded = InferenceResult.load(sys.argv[1])
np.testing.assert_array_equal(pickled(x), loaded(x))
np.save(sys.argv[3], loaded(x))
"""


def test_it_is_saved_and_pickled_for_other_processes(measured, tmp_path):
    _, x, _, result = measured
    paths = [str(tmp_path / name) for name in ("fast.zip", "x.npy", "found.npy")]
    result.save(paths[0])
    (tmp_path / "fast.zip.pickle").write_bytes(pickle.dumps(result))
    np.save(paths[1], x[:5])

    subprocess.run([sys.executable, "-c", ELSEWHERE, *paths], check=True)

    np.testing.assert_array_equal(np.load(paths[2]), result(x[:5]))
    loaded = InferenceResult.load(paths[0])
    assert str(loaded) == str(result)


@pytest.mark.parametrize("name", ["frozen graph", "TFLite float32"])
def test_a_saved_form_lies_in_the_archive_as_it_is(name, measured, tmp_path):
    model, x, *_ = measured
    result = optimize_for_inference(
        model, x, candidates=[name], batch_size=3, rounds=1, verbose=0
    )
    result.save(tmp_path / "fast.zip")
    file = {"frozen graph": "saved_model.pb", "TFLite float32": "model.tflite"}[name]
    assert file in zipfile.ZipFile(tmp_path / "fast.zip").namelist()
    loaded = InferenceResult.load(tmp_path / "fast.zip")
    np.testing.assert_array_equal(loaded(x[:7]), result(x[:7]))
    np.testing.assert_allclose(loaded(x[:7]), model(x[:7]), atol=1e-5)


def test_a_file_that_is_none(tmp_path):
    path = tmp_path / "fast.zip"
    path.write_bytes(b"?")
    with pytest.raises(ValueError, match=r"that save wrote.*fast\.zip"):
        InferenceResult.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "contents.json",
            json.dumps(
                {
                    "version": 99,
                    "fastest": "",
                    "ports": {
                        "inputs": [],
                        "input_structure": 0,
                        "output_structure": 0,
                    },
                }
            ),
        )
    with pytest.raises(ValueError, match="this version"):
        InferenceResult.load(path)


def test_the_model_is_left_as_it_was(measured):
    model, x, *_ = measured
    fresh = classifier()
    for weight, same in zip(model.weights, fresh.weights, strict=True):
        np.testing.assert_array_equal(weight, same)
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), fresh.predict(x, verbose=0)
    )


def test_no_form_within_the_tolerance(measured, tmp_path):
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


def test_a_loss_of_accuracy_can_be_the_bound(measured):
    model, x, *_ = measured
    right = model.predict(x, verbose=0).argmax(1)
    given = {"labels": right, "rounds": 1, "verbose": 0}
    result = optimize_for_inference(
        model, x, 0.0, ["TFLite float16"], max_accuracy_loss=0.0, **given
    )
    assert result.fastest == "TFLite float16"
    assert result.rungs[-1].accuracy == 1.0


def test_several_inputs_and_outputs_and_whole_numbers():
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
        model, x, candidates=TENSORFLOWS[2:4], batch_size=4, rounds=1, verbose=0
    )
    found, expected = result({**x, "not for the model": 0}), model(x)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(found["kind"], expected["kind"], atol=1e-5)
    np.testing.assert_allclose(found["more"][0], expected["more"][0], atol=1e-5)
    assert rung(result, "frozen graph").largest_difference < 1e-5
    with pytest.raises(ValueError, match=r"keys \['words', 'numbers'\].*'words'"):
        result({"words": x["words"]})
    with pytest.raises(ValueError, match=r"rows of shape \(5,\).*\(9, 6\)"):
        result({**x, "words": np.zeros((9, 6))})
    with pytest.raises(ValueError, match=r"same length.*\[9, 2\]|\[2, 9\]"):
        result({**x, "words": x["words"][:2]})


class Own(keras.Model):
    """A model whose graph is not known."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x[0]), x[1]


def test_a_model_without_a_graph_is_not_folded():
    model, x = Own(), [normal(5, 3), normal(5, 2)]
    expected = model(x)
    result = optimize_for_inference(
        model, x, candidates=TENSORFLOWS[:2], rounds=1, verbose=0
    )
    assert result.fastest == "tf.function"
    assert "could not be folded" in rung(result, "folded tf.function").failure
    assert "Not folded" in str(result)
    for found, value in zip(result(x), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=1e-6)


def test_a_form_that_fails_says_why():
    """TFLite cannot invert a matrix."""
    x = keras.Input((3, 3))
    y = layers.Flatten()(layers.Lambda(tf.linalg.inv)(x))
    model = keras.Model(x, layers.Dense(2)(y))
    result = optimize_for_inference(
        model,
        5 * np.eye(3) + normal(8, 3, 3),
        candidates=["tf.function", "TFLite float32", "TFLite int8"],
        rounds=1,
        verbose=0,
    )
    assert result.fastest == "tf.function"
    for name in ("TFLite float32", "TFLite int8"):
        assert not rung(result, name).within
        assert np.isnan(rung(result, name).seconds)
        assert rung(result, name).failure
        assert rung(result, name).failure in str(result)


def test_a_runtime_that_is_missing_is_named(monkeypatch, measured):
    model, x, *_ = measured
    names = ["ONNX Runtime", "OpenVINO", "OpenVINO bfloat16"]
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    result = optimize_for_inference(
        model,
        x,
        candidates=["folded tf.function", *names],
        rounds=1,
        verbose=0,
    )
    assert "keras_dnn[export]" in rung(result, "ONNX Runtime").failure
    for name in names[1:]:
        assert "pip install openvino" in rung(result, name).failure
    assert result.fastest == "folded tf.function"


def test_tensorflows_interpreter_serves_where_litert_is_missing(monkeypatch, measured):
    pytest.importorskip("ai_edge_litert")
    model, x, *_ = measured
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    result = optimize_for_inference(
        model, x, candidates=["TFLite float32"], rounds=1, verbose=0
    )
    np.testing.assert_allclose(result(x), model(x), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "module"), [("ONNX Runtime", "tf2onnx"), ("OpenVINO", "openvino")]
)
def test_the_other_runtimes(name, module, measured, tmp_path):
    pytest.importorskip(module)
    if name == "ONNX Runtime":
        pytest.importorskip("onnxruntime")
    model, x, _, whole = measured
    assert rung(whole, name).failure == ""
    assert rung(whole, name).largest_difference < 1e-5
    result = optimize_for_inference(
        model, x, candidates=[name], batch_size=4, rounds=1, verbose=0
    )
    result.save(tmp_path / "fast.zip")
    found = InferenceResult.load(tmp_path / "fast.zip")(x[:6])
    np.testing.assert_allclose(found, model(x[:6]), atol=1e-5)


def test_openvino_in_bfloat16(measured):
    """Eight bits of mantissa, where the processor computes with such numbers."""
    openvino = pytest.importorskip("openvino")
    *_, whole = measured
    name = "OpenVINO bfloat16"
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in able:
        assert "no instructions for bfloat16" in rung(whole, name).failure
        return
    wide, half = rung(whole, "OpenVINO"), rung(whole, name)
    assert half.bits == 16
    assert half.bytes < 0.6 * wide.bytes
    # Float16, in which the file keeps its weights, has three bits more.
    rounded_weights = rung(whole, "TFLite float16").largest_difference
    assert 2 * rounded_weights < half.largest_difference < 2**-4


def test_a_processor_without_bfloat16(measured, monkeypatch):
    openvino = pytest.importorskip("openvino")

    class Core:
        def get_property(self, *names):
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino, "Core", Core)
    model, x, *_ = measured
    result = optimize_for_inference(
        model, x, candidates=["OpenVINO bfloat16"], rounds=1, verbose=0
    )
    assert "no instructions for bfloat16" in result.rungs[-1].failure


def test_calibration_takes_batches_from_all_over_the_data(tmp_path):
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    x = np.arange(1000, dtype="float32")[:, None]
    ports, arrays = input_ports(model, x)

    def taken(rows, batch_size):
        arrays_ = [a[:rows] for a in arrays]
        network = Network(model, None, ports, arrays_, batch_size, tmp_path)
        return network.calibration()["x0"]

    found = taken(1000, 8)
    assert found.shape == (16, 8, 1)
    assert found.min() == 0
    assert found.max() == 999
    np.testing.assert_allclose(np.diff(found.ravel()), 999 / 127, atol=1)
    np.testing.assert_array_equal(taken(5, 1).ravel(), [0, 1, 2, 3, 4])
    assert taken(300, 200).shape == (1, 200, 1)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_eight_bits_span_the_range_of_the_calibration(tmp_path):
    """What lies beyond is cut off there; 256 numbers lie in between."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign([[1.0]])
    ports, arrays = input_ports(model, np.linspace(0, 5, 20, dtype="float32")[:, None])
    network = Network(model, None, ports, arrays, 1, tmp_path)
    np.savez(tmp_path / "rows.npz", **network.calibration())
    content = quantize(str(network.saved_for_batch), str(tmp_path / "rows.npz"))
    run = FORMS["TFLite int8"].open({"model.tflite": content}, 1)
    for x, y in ((10.0, 5.0), (2.5, 2.5), (-1.0, 0.0)):
        (found,) = run([np.float32([[x]])])
        assert found.item() == pytest.approx(y, abs=5 / 255)
    assert run([np.float32([[10.0]])])[0].item() == pytest.approx(5.0, abs=0.01)


def stateful():
    return keras.Sequential(
        [keras.Input(batch_shape=(2, 3, 4)), layers.GRU(2, stateful=True)]
    )


def of_four_rows():
    return keras.Sequential([keras.Input(batch_shape=(4, 4)), layers.Dense(3)])


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
        ({"model": of_four_rows}, r"any number of rows.*\(4, 4\)"),
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
