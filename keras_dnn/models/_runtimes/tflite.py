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

from keras_dnn._tensorflow import tf
from keras_dnn.models._runtimes.export import to_tflite
from keras_dnn.models._runtimes.runtime import Files, Form, Run, numbered
from keras_dnn.models._runtimes.source import Network

FILE = "model.tflite"


def _float32(network: Network) -> Files:
    return {FILE: to_tflite(network.saved_for_batch)}


def _float16(network: Network) -> Files:
    def adjust(converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]

    return {FILE: to_tflite(network.saved_for_batch, adjust)}


def _int8(network: Network) -> Files:
    calibration, target = network.folder / "calibration.npz", network.folder / FILE
    with calibration.open("wb") as file:
        np.savez(file, **network.calibration())  # type: ignore[arg-type]
    script = Path(__file__).with_name("quantize.py")
    # `-P`: the folder of the script is not to be searched for modules.
    done = subprocess.run(
        [sys.executable, "-P", script, network.saved_for_batch, calibration, target],
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


def _open(files: Files, threads: int) -> Run:
    interpreter = _interpreter()(model_content=files[FILE], num_threads=threads)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    places = [
        {name: details["index"] for name, details in found.items()}
        for found in (runner.get_input_details(), runner.get_output_details())
    ]
    inputs, outputs = ([found[name] for name in numbered(found)] for found in places)
    # An interpreter holds the tensors of one call.
    lock = threading.Lock()

    def run(x: Sequence[np.ndarray]) -> list[np.ndarray]:
        with lock:
            for place, a in zip(inputs, x, strict=True):
                interpreter.set_tensor(place, a)
            interpreter.invoke()
            return [interpreter.get_tensor(place) for place in outputs]

    return run


def _interpreter() -> Any:
    """LiteRT's interpreter, or the one that TensorFlow still has."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return _tensorflows_interpreter
    return Interpreter


def _tensorflows_interpreter(**options: Any) -> Any:
    with warnings.catch_warnings():
        # That it will go; LiteRT is taken where it is installed.
        warnings.simplefilter("ignore")
        return tf.lite.Interpreter(**options)


FLOAT32 = Form("TFLite float32", 32, _float32, _open, any_batch=False)
FLOAT16 = Form("TFLite float16", 16, _float16, _open, any_batch=False)
INT8 = Form("TFLite int8", 8, _int8, _open, any_batch=False)
