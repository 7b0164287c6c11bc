"""The runtimes that the package brings: what each builds, and why it may fail."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_dnn.models import (
    InferenceResult,
    RuntimeSource,
    optimize_for_inference,
    registered_runtimes,
)
from keras_dnn.models._runtimes.quantize import quantize
from keras_dnn.models._runtimes.signature import input_signature
from tests.models.inference_cases import candidate, normal

pytestmark = pytest.mark.usefixtures("short_turns")


def test_more_outputs_than_ten_keep_their_order():
    """Sorted by name, y10 comes before y2."""
    x = keras.Input((3,))
    y = layers.Dense(12)(x)
    model = keras.Model(x, [y[:, i : i + 1] for i in range(12)])
    data = normal(5, 3)
    names = ["tf.function", "frozen graph", "TFLite float32"]
    result = optimize_for_inference(model, data, candidates=names, rounds=1, verbose=0)
    assert [each.failure for each in result.candidates] == [""] * 5
    assert all(each.within for each in result.candidates)


def test_a_converter_that_fails_says_why():
    """TFLite cannot invert a matrix."""
    x = keras.Input((3, 3))
    y = layers.Flatten()(layers.Lambda(tf.linalg.inv)(x))
    model = keras.Model(x, layers.Dense(2)(y))
    result = optimize_for_inference(
        model,
        5 * np.eye(3) + normal(8, 3, 3),
        candidates=["tf.function", "TFLite float32"],
        rounds=1,
        verbose=0,
    )
    assert result.fastest == "tf.function"
    failed = candidate(result, "TFLite float32")
    assert not failed.within
    assert np.isnan(failed.seconds)
    assert "MatrixInverse" in failed.failure
    assert failed.failure in str(result)


FAILS = """#!/bin/sh
cat >&2 <<END
W0000 00:00:1764000000.123456 tf_tfl_flatbuffer_helpers.cc:365] Ignored output_format.
Traceback (most recent call last):
  File "convert_phase.py", line 206, in wrapper
    raise converter_error from None
tensorflow.lite.python.convert_phase.ConverterError: <unknown>:0: op is neither custom
<unknown>:0: note: loc(fused["MatrixInverse:", "MatrixInverse"]): Error code: FLEX_OPS
END
exit 1
"""
CRASHES = """#!/bin/sh
kill -SEGV $$
"""


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (FAILS, "tensorflow.lite.python.convert_phase.ConverterError: <unknown>:0: op"),
        (CRASHES, "TensorFlow's converter crashed (SIGSEGV)"),
    ],
    ids=["fails", "crashes"],
)
def test_the_converter_to_8_bits_says_why_it_ends(
    script, reason, tmp_path, monkeypatch
):
    """It runs in a separate process: a script in place of Python ends as it may."""
    python = tmp_path / "python"
    python.write_text(script)
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    result = optimize_for_inference(
        keras.Sequential([keras.Input((2,)), layers.Dense(1)]),
        normal(5, 2),
        candidates=["TFLite int8"],
        rounds=1,
        verbose=0,
    )
    assert candidate(result, "TFLite int8").failure.startswith(reason)
    assert result.fastest is None


def test_a_runtime_that_is_not_installed_is_named(monkeypatch, measured):
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
    assert "keras_dnn[export]" in candidate(result, "ONNX Runtime").failure
    for name in names[1:]:
        assert "pip install openvino" in candidate(result, name).failure
    assert result.fastest == "folded tf.function"


def test_tensorflows_interpreter_is_used_where_litert_is_missing(monkeypatch, measured):
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
def test_onnx_runtime_and_openvino(name, module, measured, tmp_path):
    pytest.importorskip(module)
    if name == "ONNX Runtime":
        pytest.importorskip("onnxruntime")
    model, x, _, every = measured
    assert candidate(every, name).failure == ""
    assert candidate(every, name).largest_difference < 1e-5
    result = optimize_for_inference(
        model, x, candidates=[name], batch_size=4, rounds=1, verbose=0
    )
    result.save(tmp_path / "fast.zip")
    found = InferenceResult.load(tmp_path / "fast.zip")(x[:6])
    np.testing.assert_allclose(found, model(x[:6]), atol=1e-5)


def test_openvino_in_bfloat16(measured):
    """Eight bits of mantissa, where the processor computes with such numbers."""
    openvino = pytest.importorskip("openvino")
    *_, every = measured
    name = "OpenVINO bfloat16"
    supported = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in supported:
        assert "no instructions for bfloat16" in candidate(every, name).failure
        return
    wide, half = candidate(every, "OpenVINO"), candidate(every, name)
    assert half.bits == 16
    assert half.bytes < 0.6 * wide.bytes
    # Float16, in which the file keeps its weights, has three bits more.
    rounded_weights = candidate(every, "TFLite float16").largest_difference
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
    assert "no instructions for bfloat16" in result.candidates[-1].failure


def test_calibration_batches_come_from_all_over_the_data(tmp_path):
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    x = np.arange(1000, dtype="float32")[:, None]
    signature, arrays = input_signature(model, x)

    def taken(rows, batch_size):
        arrays_ = [a[:rows] for a in arrays]
        source = RuntimeSource(model, model, signature, arrays_, batch_size, tmp_path)
        return source.calibration_batches()["x0"]

    found = taken(1000, 8)
    assert found.shape == (16, 8, 1)
    assert found.min() == 0
    assert found.max() == 999
    np.testing.assert_allclose(np.diff(found.ravel()), 999 / 127, atol=1)
    np.testing.assert_array_equal(taken(5, 1).ravel(), [0, 1, 2, 3, 4])
    assert taken(300, 200).shape == (1, 200, 1)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_eight_bits_span_the_range_of_the_calibration_data(tmp_path):
    """Values outside it are clipped; 256 numbers lie in between."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign([[1.0]])
    signature, arrays = input_signature(
        model, np.linspace(0, 5, 20, dtype="float32")[:, None]
    )
    source = RuntimeSource(model, model, signature, arrays, 1, tmp_path)
    np.savez(tmp_path / "rows.npz", **source.calibration_batches())
    content = quantize(str(source.saved_model(rows=1)), str(tmp_path / "rows.npz"))
    run = registered_runtimes()["TFLite int8"].load({"model.tflite": content}, 1)
    for x, y in ((10.0, 5.0), (2.5, 2.5), (-1.0, 0.0)):
        (found,) = run([np.float32([[x]])])
        assert found.item() == pytest.approx(y, abs=5 / 255)
    assert run([np.float32([[10.0]])])[0].item() == pytest.approx(5.0, abs=0.01)
