"""OpenVINO."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from keras_dnn.models._runtimes.runtime import Files, Form, Run, numbered
from keras_dnn.models._runtimes.source import Network

FILE, WEIGHTS = "model.xml", "model.bin"


def _float32(network: Network) -> Files:
    return _make(network, _runtime(), half=False)


def _bfloat16(network: Network) -> Files:
    openvino = _runtime()
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in able:
        raise ValueError("this processor has no instructions for bfloat16")
    return _make(network, openvino, half=True)


def _make(network: Network, openvino: Any, half: bool) -> Files:
    shapes = [
        (f"x{i}", [network.batch_size, *port.shape])
        for i, port in enumerate(network.ports.inputs)
    ]
    model = openvino.convert_model(str(network.saved), input=shapes)
    openvino.save_model(model, network.folder / FILE, compress_to_fp16=half)
    return {name: (network.folder / name).read_bytes() for name in (FILE, WEIGHTS)}


def _open(precision: str, files: Files, threads: int) -> Run:
    core = _runtime().Core()
    model = core.read_model(files[FILE], files[WEIGHTS])
    # By itself it computes in bfloat16 where the processor can.
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
    }
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    outputs = numbered(name for y in model.outputs for name in y.get_names())

    # A request holds the tensors of one call.
    lock = threading.Lock()

    def run(x: Sequence[np.ndarray]) -> list[Any]:
        with lock:
            found = request.infer({f"x{i}": a for i, a in enumerate(x)})
            return [found[name].copy() for name in outputs]

    return run


def _runtime() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise ImportError("needs OpenVINO: pip install openvino") from error
    return openvino


FLOAT32 = Form("OpenVINO", 32, _float32, partial(_open, "f32"), any_batch=False)
BFLOAT16 = Form(
    "OpenVINO bfloat16", 16, _bfloat16, partial(_open, "bf16"), any_batch=False
)
