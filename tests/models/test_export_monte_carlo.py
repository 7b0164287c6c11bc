"""Exported Monte Carlo models give outside Python what they give here."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_dnn.models import export_monte_carlo, mc_predict
from tests.models.mc_cases import MEASURES, normal


def classifier(units=3, activation="softmax"):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.SpatialDropout2D(0.2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(16, "selu"),
            layers.AlphaDropout(0.1),
            layers.GaussianDropout(0.1),
            layers.Dense(units, activation),
        ]
    )


def in_tflite(path, x):
    interpreter = tf.lite.Interpreter(str(path))
    runner = interpreter.get_signature_runner()
    (name,) = runner.get_input_details()
    return runner(**{name: x})


def in_new_process(program, path, x):
    """The measures that a program without this library computes from a file."""
    folder = path.parent
    np.save(folder / "x.npy", x)
    paths = [str(p) for p in (path, folder / "x.npy", folder / "found.npz")]
    subprocess.run([sys.executable, "-c", program, *paths], check=True)
    return dict(np.load(folder / "found.npz"))


ONNX = """
import sys
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
names = [output.name for output in session.get_outputs()]
values = session.run(None, {session.get_inputs()[0].name: np.load(sys.argv[2])})
assert not {"keras", "tensorflow", "keras_dnn"} & set(sys.modules)
np.savez(sys.argv[3], **dict(zip(names, values)))
"""

TFLITE = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

runner = Interpreter(sys.argv[1]).get_signature_runner()
(name,) = runner.get_input_details()
assert not {"keras", "tensorflow", "keras_dnn"} & set(sys.modules)
np.savez(sys.argv[3], **runner(**{name: np.load(sys.argv[2])}))
"""

ENDS = [(3, "softmax"), (1, "sigmoid"), (2, None)]


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize(("units", "activation"), ENDS)
def test_tflite_gives_what_the_function_gives(units, activation, tmp_path):
    model, x = classifier(units, activation), normal(5, 8, 8, 1)

    predict = export_monte_carlo(model, tmp_path / "mc.tflite", 40, seed=1)

    expected, found = predict(x), in_tflite(tmp_path / "mc.tflite", x)
    names = MEASURES if activation else MEASURES[:2]
    assert set(found) == set(expected) == set(names)
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=2e-6)
    np.testing.assert_array_equal(predict(x)["mean"], expected["mean"])


def test_tflite_gives_the_same_in_a_process_without_tensorflow(tmp_path):
    pytest.importorskip("ai_edge_litert")
    model, x = classifier(), normal(5, 8, 8, 1)

    predict = export_monte_carlo(model, tmp_path / "mc.tflite", 40, seed=1)

    expected, values = predict(x), in_new_process(TFLITE, tmp_path / "mc.tflite", x)
    assert set(values) == set(MEASURES)
    for name in MEASURES:
        np.testing.assert_allclose(values[name], expected[name], rtol=1e-5, atol=2e-6)


def test_onnx_gives_what_the_function_gives(tmp_path):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    model, x = classifier(), normal(5, 8, 8, 1)

    predict = export_monte_carlo(model, tmp_path / "mc.onnx", 40, seed=1)

    expected, values = predict(x), in_new_process(ONNX, tmp_path / "mc.onnx", x)
    assert set(values) == set(MEASURES)
    for name in MEASURES:
        np.testing.assert_allclose(values[name], expected[name], rtol=1e-5, atol=2e-6)


def test_onnx_names_the_extra_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"keras_dnn\[export\]"):
        export_monte_carlo(classifier(), tmp_path / "mc.onnx", 2)


@pytest.mark.parametrize(("units", "activation"), ENDS)
def test_a_bank_of_masks_agrees_with_mc_predict(units, activation, tmp_path):
    """Within the error of its samples; stratified masks are closer."""
    model, x = classifier(units, activation), normal(5, 8, 8, 1)
    found = export_monte_carlo(model, tmp_path / "mc.tflite", 400, seed=1)(x)
    expected = mc_predict(model, x, 4000, seed=1)
    error = expected.std / np.sqrt(400)
    assert np.abs((found["mean"] - expected.mean) / error).max() < 4.5
    np.testing.assert_allclose(found["std"], expected.std, rtol=0.25)
    if activation:
        np.testing.assert_allclose(found["entropy"], expected.entropy, atol=0.06)
        np.testing.assert_allclose(
            found["expected_entropy"], expected.expected_entropy, atol=0.06
        )


SERVE = """
import sys
import numpy as np, tensorflow as tf

x = np.load(sys.argv[2])
found = {}
for seed in ("seven", "none"):
    loaded = tf.saved_model.load(sys.argv[1] + "/" + seed)
    once, again = loaded.serve(x), loaded.serve(x)
    found |= {f"{seed}/{name}": value.numpy() for name, value in once.items()}
    found[f"{seed}/again"] = again["mean"].numpy()
assert "keras_dnn" not in sys.modules
np.savez(sys.argv[3], **found)
"""


def test_saved_models_draw_in_a_process_without_keras_dnn(tmp_path):
    model, x, folder = classifier(), normal(5, 8, 8, 1), tmp_path / "mc"
    export_monte_carlo(model, folder / "seven", 60, seed=7)
    predict = export_monte_carlo(model, folder / "none", 60)

    found = in_new_process(SERVE, folder, x)

    # With a seed: the samples of mc_predict, each time.
    expected = mc_predict(model, x, 60, seed=7)
    for name in MEASURES:
        np.testing.assert_allclose(
            found[f"seven/{name}"], getattr(expected, name), rtol=1e-4, atol=1e-6
        )
    np.testing.assert_array_equal(found["seven/again"], found["seven/mean"])
    # Without one: other samples each time, of the same distribution.
    assert np.all(found["none/again"] != found["none/mean"])
    assert np.all(predict(x)["mean"] != found["none/mean"])
    expected = mc_predict(model, x, 4000, seed=1)
    error = expected.std / np.sqrt(60)
    assert np.abs((found["none/mean"] - expected.mean) / error).max() < 4.5


def test_the_model_is_left_as_it_was(tmp_path):
    model, x = classifier(), normal(5, 8, 8, 1)
    expected = model.predict(x, verbose=0)
    calls = [layer.call for layer in model.layers]
    export_monte_carlo(model, tmp_path / "mc.tflite", 4)
    assert [layer.call for layer in model.layers] == calls
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)


def test_several_outputs_are_refused(tmp_path):
    x = keras.Input((4,))
    y = layers.Dropout(0.5)(x)
    model = keras.Model(x, [y, layers.Dense(2)(y)], name="two")
    with pytest.raises(ValueError, match=r"one output.*'two'"):
        export_monte_carlo(model, tmp_path / "mc.tflite")


def test_masks_without_a_fixed_shape_are_refused(tmp_path):
    model = keras.Sequential(
        [keras.Input((None, 3)), layers.Dropout(0.5), layers.LSTM(2)]
    )
    with pytest.raises(ValueError, match="inputs of one shape"):
        export_monte_carlo(model, tmp_path / "mc.tflite", 3)


def test_a_model_of_a_fixed_batch_size_is_exported(tmp_path):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input(batch_shape=(6, 9)), layers.Dropout(0.5), layers.Dense(2)]
    )
    x = normal(6, 9)
    found = export_monte_carlo(model, tmp_path / "mc", 50, seed=1)(x)
    expected = mc_predict(model, x, 50, seed=1)
    for name in ("mean", "std"):
        np.testing.assert_allclose(found[name], getattr(expected, name), rtol=1e-5)


@pytest.mark.slow
def test_a_folder_takes_rows_of_any_length(tmp_path):
    keras.utils.set_random_seed(1)
    x = keras.Input((None, 3))
    y = layers.GRU(4)(layers.Dropout(0.5)(x))
    model = keras.Model(x, layers.Dense(2)(y))
    predict = export_monte_carlo(model, tmp_path / "mc", 5, seed=1)
    for length in (1, 7):
        batch = normal(2, length, 3)
        expected = mc_predict(model, batch, 5, seed=1, verbose=0)
        np.testing.assert_allclose(predict(batch)["std"], expected.std, rtol=1e-4)


def test_an_output_of_any_length_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), layers.Dropout(0.5)], name="mine")
    with pytest.raises(ValueError, match=r"output of one shape.*'mine'.*None, None, 3"):
        export_monte_carlo(model, tmp_path / "mc", 3)


def test_masks_of_a_given_number_of_rows_are_refused(tmp_path):
    dropout = layers.Dropout(0.5, noise_shape=(6, 1, 4))
    model = keras.Sequential([keras.Input((3, 4)), dropout], name="mine")
    with pytest.raises(ValueError, match=r"any number of inputs.*'mine'"):
        export_monte_carlo(model, tmp_path / "mc")
