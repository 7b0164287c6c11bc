"""TFLite, with weights of 32, 16 and 8 bits."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_dnn import _files
from keras_dnn._tensorflow import tf
from keras_dnn.models._runtimes.converters import separately
from keras_dnn.models._runtimes.export import to_tflite
from keras_dnn.models._runtimes.runtime import Files, Run, Runtime, numbered
from keras_dnn.models._runtimes.source import RuntimeSource

FILE = "model.tflite"


class Float32(Runtime):
    """TFLite with weights and activations of 32 bits."""

    description = "a leaner runtime with its own kernels (XNNPACK)"
    bits = 32
    any_batch = False

    def build(self, source: RuntimeSource) -> Files:
        return {FILE: to_tflite(_saved_model(source))}

    def load(self, files: Files, threads: int) -> Run:
        interpreter = _interpreter()(model_content=files[FILE], num_threads=threads)
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
        places = [
            {name: details["index"] for name, details in found.items()}
            for found in (runner.get_input_details(), runner.get_output_details())
        ]
        inputs, outputs = (
            [found[name] for name in numbered(found)] for found in places
        )
        details = runner.get_input_details()
        dtypes = [details[name]["dtype"] for name in numbered(details)]
        # An interpreter holds the tensors of one call.
        lock = threading.Lock()

        def run(x: Sequence[np.ndarray]) -> list[np.ndarray]:
            with lock:
                for place, dtype, a in zip(inputs, dtypes, x, strict=True):
                    interpreter.set_tensor(place, a.astype(dtype, copy=False))
                interpreter.invoke()
                return [interpreter.get_tensor(place) for place in outputs]

        return run


class Float16(Float32):
    """TFLite with weights of 16 bits and activations of 32."""

    description = (
        "weights stored in 16 bits and computed with in 32: half the size, the same "
        "speed"
    )
    bits = 16

    def build(self, source: RuntimeSource) -> Files:
        def adjust(converter: Any) -> None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]

        return {FILE: to_tflite(_saved_model(source), adjust)}


class Int8(Float32):
    """TFLite with weights and activations of 8 bits."""

    description = (
        "weights and activations in 8 bits, a quarter of the size; what has no such "
        "kernel stays in 32"
    )
    bits = 8

    def build(self, source: RuntimeSource) -> Files:
        batches, target = source.folder / "calibration.npz", source.folder / FILE
        _files.write_arrays(batches, source.calibration_batches())
        saved = _saved_model(source)
        script = Path(__file__).with_name("quantize.py")
        separately([script, saved, batches, target])
        return {FILE: target.read_bytes()}


def _saved_model(source: RuntimeSource) -> Path:
    return source.saved_model(source.in_float32, rows=source.batch_size)


def _interpreter() -> Any:
    """LiteRT's interpreter, or the one that TensorFlow still has."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return _tensorflows_interpreter
    return Interpreter


def _tensorflows_interpreter(**options: Any) -> Any:
    with warnings.catch_warnings():
        # It warns of its removal; LiteRT is preferred where it is installed.
        warnings.simplefilter("ignore")
        return tf.lite.Interpreter(**options)
