"""TFLite, with weights of 32, 16 and 8 bits."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_dnn import _files
from keras_dnn._tensorflow import tf
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
        return {FILE: to_tflite(source.saved_model(rows=source.batch_size))}

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
        # An interpreter holds the tensors of one call.
        lock = threading.Lock()

        def run(x: Sequence[np.ndarray]) -> list[np.ndarray]:
            with lock:
                for place, a in zip(inputs, x, strict=True):
                    interpreter.set_tensor(place, a)
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

        return {FILE: to_tflite(source.saved_model(rows=source.batch_size), adjust)}


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
        saved = source.saved_model(rows=source.batch_size)
        script = Path(__file__).with_name("quantize.py")
        # `-P`: the folder of the script must not be searched for modules.
        done = subprocess.run(
            [sys.executable, "-P", script, saved, batches, target],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode < 0:
            name = signal.Signals(-done.returncode).name
            raise RuntimeError(f"TensorFlow's converter crashed ({name})")
        if done.returncode:
            raise RuntimeError(_error(done.stderr))
        return {FILE: target.read_bytes()}


def _error(printed: str) -> str:
    """The line that names the error, among all that a process printed."""
    lines = printed.strip().splitlines() or ["no reason given"]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (named or lines)[-1]


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
